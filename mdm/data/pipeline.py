"""Batches as a function of the step, for any number of processes.

Grain shuffles record numbers, anew each epoch; global batch k is numbers kB ..
(k+1)B-1 of that stream, and process p of P takes the p-th part of it. All that an
iterator has to remember is the step: to resume at step s is to start there.

With buckets each shape has a stream of its own. A cycle of about N / B batches gives
every shape its share of the batches in an order drawn from (seed, cycle), so that the
shape of batch k is a function of k too, and no batch is ever short. A data set whose
shapes differ much in size may ask for more rows of the small ones (`multiple`).

Source: grain, dataset basics; MDiff4STR, 2025 (batches are made per bucket).
"""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np
from jaxtyping import Int

from mdm.data.datasets import Dataset

Batch = dict[str, np.ndarray]
_END = 1 << 40  # steps; grain wants a length


class BatchPlan:
  """Which records this process's rows of a step's batch hold."""

  def __init__(
    self,
    dataset: Dataset,
    *,
    seed: int,
    batch: int,
    process: int = 0,
    num_processes: int = 1,
  ) -> None:
    if batch < 1 or batch % num_processes or not 0 <= process < num_processes:
      raise ValueError(
        f"train.batch = {batch} cannot be dealt to {num_processes} processes (this is "
        f"number {process}); write a positive multiple of {num_processes}."
      )
    self.batch, self.local = batch, batch // num_processes
    self.process, self.seed = process, seed
    groups = _group(dataset)
    self._numbers = list(groups.values())
    self._multiples = np.array([_multiple(dataset, shape) for shape in groups])
    self._orders = [
      _order(len(numbers), seed + 7919 * k, self.local * m)[process::num_processes]
      for k, (numbers, m) in enumerate(
        zip(self._numbers, self._multiples.tolist(), strict=True)
      )
    ]
    self._shares = _shares([len(n) for n in self._numbers], batch * self._multiples)

  def numbers(self, step: int) -> Int[np.ndarray, "b"]:
    """Record numbers of this process's rows of batch `step`."""
    group, turn, _ = self._turn(step)
    return self._numbers[group][self._orders[group][turn]]

  def places(self, step: int) -> Int[np.ndarray, "b"]:
    """Places of these rows in the training stream."""
    group, _, before = self._turn(step)
    local = self.local * int(self._multiples[group])
    first = before * self.batch + self.process * local
    return np.arange(first, first + local)

  def _turn(self, step: int) -> tuple[int, int, int]:
    """Whose batch a step is, the how-manieth of its own, and batches of rows before."""
    if len(self._shares) == 1:
      return 0, step, step * int(self._multiples[0])
    cycle, place = divmod(step, int(self._shares.sum()))
    groups = np.repeat(np.arange(len(self._shares)), self._shares)
    groups = np.random.default_rng((self.seed, cycle)).permutation(groups)
    group = int(groups[place])
    turn = cycle * int(self._shares[group]) + int((groups[:place] == group).sum())
    before = cycle * int(self._shares @ self._multiples)
    return group, turn, before + int(self._multiples[groups[:place]].sum())


class TrainBatches(Iterator[Batch]):
  """Batches without end from a step on; `step` is the whole state."""

  def __init__(
    self, dataset: Dataset, plan: BatchPlan, start: int, threads: int
  ) -> None:
    self.step = start
    self._dataset, self._plan = dataset, plan
    self._ahead: Iterator[Batch] | None = None
    if threads > 0:
      options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
      steps = grain.MapDataset.range(start, _END).map(self.batch_at)
      self._ahead = iter(steps.to_iter_dataset(options))

  def batch_at(self, step: int) -> Batch:
    """The rows of batch `step` that fall to this process."""
    places = self._plan.places(step)
    found = self._dataset.draw(self._plan.numbers(step), places, self._plan.seed)
    found["index"] = (places % (1 << 31)).astype(np.int32)
    found["weight"] = np.ones(len(places), np.float32)
    return found

  def __next__(self) -> Batch:
    found = self.batch_at(self.step) if self._ahead is None else next(self._ahead)
    self.step += 1
    return found


def train_batches(
  dataset: Dataset,
  *,
  seed: int,
  batch: int,
  process: int = 0,
  num_processes: int = 1,
  start: int = 0,
  threads: int | None = None,
) -> TrainBatches:
  """Batches of the table in data/batch.py, from step `start` on, without end.

  Args:
    batch: examples over all processes; a multiple of it for shapes that ask for one.
    process: which of `num_processes` equal parts of each batch to give.
    threads: how many read ahead; 0 reads when asked; None chooses: ahead only where
      records must be decoded or changed.

  Raises:
    ValueError: the batch does not divide by the processes.
  """
  plan = BatchPlan(
    dataset, seed=seed, batch=batch, process=process, num_processes=num_processes
  )
  if threads is None:
    threads = 0 if dataset.is_in_memory else 2
  return TrainBatches(dataset, plan, start, threads)


def batch_at(dataset: Dataset, step: int, **options: Any) -> Batch:
  """One batch by its step; options as those of `train_batches`."""
  return train_batches(dataset, start=step, threads=0, **options).batch_at(step)


def eval_batches(
  dataset: Dataset,
  batch: int,
  *,
  process: int = 0,
  num_processes: int = 1,
  limit: int | None = None,
) -> Iterator[Batch]:
  """Every record once, in order; `index` is its number.

  Rows that fill the last batch (of each bucket) repeat a record with weight 0; a data
  set may give rows that count for nothing such a weight too.

  Args:
    limit: only the first records, so many.
  """
  if batch < 1 or batch % num_processes:
    raise ValueError(
      f"eval.batch = {batch} cannot be dealt to {num_processes} processes; write a "
      f"positive multiple of {num_processes}."
    )
  for shape, numbers in _group(dataset).items():
    numbers = numbers[numbers < limit] if limit is not None else numbers
    rows = batch * _multiple(dataset, shape)
    local = rows // num_processes
    for first in range(0, len(numbers), rows):
      chosen = numbers[first : first + rows]
      weight = (np.arange(rows) < len(chosen)).astype(np.float32)
      chosen = np.pad(chosen, (0, rows - len(chosen)), "edge")
      part = slice(process * local, (process + 1) * local)
      found = dataset.fetch(chosen[part])
      found["index"] = chosen[part].astype(np.int32)
      found["weight"] = weight[part] * found.get("weight", np.float32(1))
      yield found


def steps_of_epoch(dataset: Dataset, batch: int) -> int:
  """Whole batches in as many rows as the data set has."""
  groups = _group(dataset).items()
  return int(sum(len(n) / _multiple(dataset, shape) for shape, n in groups) / batch)


def _multiple(dataset: Dataset, shape: tuple[int, ...]) -> int:
  """How many times the rows of a batch those of a shape have."""
  choose = getattr(dataset, "multiple", None)
  return 1 if choose is None else int(choose(shape))


def _order(count: int, seed: int, local: int) -> grain.MapDataset:
  """Batches of record numbers without end, shuffled anew each epoch."""
  epochs = _END * local // count + 1  # grain cannot slice what has no end
  numbers = grain.MapDataset.range(count).seed(seed % (1 << 32)).shuffle()
  return numbers.repeat(epochs).batch(local)


def _group(dataset: Dataset) -> dict[tuple[int, ...], np.ndarray]:
  """Record numbers by shape, in the order of the shapes; one group without shapes."""
  if dataset.shapes is None:
    return {(): np.arange(len(dataset))}
  shapes = sorted({(int(rows), int(columns)) for rows, columns in dataset.shapes})
  return {s: np.flatnonzero((dataset.shapes == s).all(axis=1)) for s in shapes}


def _shares(counts: list[int], rows: Int[np.ndarray, "g"]) -> np.ndarray:
  """Batches of each group in a cycle, as near to its size as whole batches allow."""
  exact = np.array(counts) / rows
  return np.maximum(1, np.rint(exact)).astype(np.int64)
