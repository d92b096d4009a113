import collections
import itertools

import numpy as np
import pytest

from mdm.data import datasets, pipeline
from mdm.data.batch import check_batch


@pytest.fixture(scope="module")
def words(section):
  return datasets.load(section, "train")  # 150 records


@pytest.fixture(scope="module")
def buckets(photos):
  section = {"name": "folder", "folder": str(photos), "buckets": True}
  return datasets.load(section, "train")  # 60 records in four shapes


def take(batches, count):
  return list(itertools.islice(batches, count))


def same(one, other):
  return one.keys() == other.keys() and all((one[k] == other[k]).all() for k in one)


def joined(batches):
  return {k: np.concatenate([b[k] for b in batches]) for k in batches[0]}


@pytest.mark.parametrize("step", [0, 1, 7, 8, 9, 18, 19])  # epochs end in 9 and 18
@pytest.mark.parametrize("num_processes", [1, 2, 4])
def test_processes_together_hold_the_batch_of_one(words, step, num_processes):
  whole = pipeline.batch_at(words, step, seed=5, batch=16)
  parts = [
    pipeline.batch_at(
      words, step, seed=5, batch=16, process=p, num_processes=num_processes
    )
    for p in range(num_processes)
  ]
  assert same(joined(parts), whole)


@pytest.mark.parametrize("num_processes", [2, 4])
def test_processes_agree_on_buckets_as_well(buckets, num_processes):
  for step in range(12):
    whole = pipeline.batch_at(buckets, step, seed=5, batch=8)
    parts = [
      pipeline.batch_at(
        buckets, step, seed=5, batch=8, process=p, num_processes=num_processes
      )
      for p in range(num_processes)
    ]
    assert same(joined(parts), whole)


def test_an_epoch_covers_each_record_exactly_once_and_epochs_differ(words):
  plan = pipeline.BatchPlan(words, seed=5, batch=10)
  epochs = [[plan.numbers(s) for s in range(15 * e, 15 * e + 15)] for e in range(3)]
  for epoch in epochs:
    assert sorted(np.concatenate(epoch)) == list(range(150))
  orders = {tuple(np.concatenate(epoch)) for epoch in epochs}
  assert len(orders) == 3


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("start", [1, 7, 12])
def test_starting_at_a_step_equals_skipping_to_it(words, threads, start):
  skipped = take(pipeline.train_batches(words, seed=5, batch=16), start + 3)[start:]
  batches = pipeline.train_batches(
    words, seed=5, batch=16, start=start, threads=threads
  )
  for one, other in zip(take(batches, 3), skipped, strict=True):
    assert same(one, other)
  assert batches.step == start + 3


def test_the_order_depends_on_the_seed(words):
  one, other = (pipeline.batch_at(words, 0, seed=s, batch=16) for s in (5, 6))
  assert (one["tokens"] != other["tokens"]).any()


def test_batches_keep_to_the_table_and_count_their_places(words, buckets):
  for dataset in (words, buckets):
    for step, batch in enumerate(
      take(pipeline.train_batches(dataset, seed=0, batch=8), 4)
    ):
      check_batch(batch)
      assert batch["index"].tolist() == list(range(8 * step, 8 * step + 8))
      assert (batch["weight"] == 1).all()


def test_image_and_text_of_a_row_belong_together(buckets):
  for batch in take(pipeline.train_batches(buckets, seed=0, batch=8), 10):
    for image, tokens in zip(batch["image"], batch["tokens"], strict=True):
      assert buckets.charset.decode(tokens) == f"word{image[0, 0, 0]}"


def test_every_batch_has_one_shape_that_divides_by_four_and_sixteen(buckets):
  shapes = collections.Counter()
  for batch in take(pipeline.train_batches(buckets, seed=0, batch=8), 32):
    rows, columns = batch["image"].shape[1:3]
    assert rows % 4 == 0
    assert columns % 16 == 0
    shapes[rows, columns] += 1
  assert len(shapes) == 4


def test_each_bucket_is_shown_whole_before_a_record_comes_again(buckets):
  seen = collections.defaultdict(list)
  for batch in take(pipeline.train_batches(buckets, seed=1, batch=4), 64):
    shape = batch["image"].shape[1:3]
    seen[shape] += batch["image"][:, 0, 0, 0].tolist()
  for shape, shown in seen.items():
    count = int((buckets.shapes == shape).all(axis=1).sum())
    assert len(set(shown[:count])) == count


def test_buckets_come_in_proportion_to_their_size(buckets):
  plan = pipeline.BatchPlan(buckets, seed=1, batch=2)
  drawn = collections.Counter(
    tuple(buckets.shapes[plan.numbers(step)[0]].tolist()) for step in range(300)
  )
  for shape, count in drawn.items():
    share = (buckets.shapes == shape).all(axis=1).mean()
    assert abs(count / 300 - share) < 0.05  # rounding of 8 or 9 turns in 30


def test_changes_on_the_fly_are_a_function_of_the_step(section):
  changed = datasets.load(section | {"augment": 0.7}, "train")
  plain = datasets.load(section, "train")
  whole = pipeline.batch_at(changed, 3, seed=5, batch=16)
  half = pipeline.batch_at(changed, 3, seed=5, batch=16, process=1, num_processes=2)
  assert (whole["image"][8:] == half["image"]).all()
  source = pipeline.batch_at(plain, 3, seed=5, batch=16)
  assert (source["image"] != whole["image"]).any()
  assert (source["tokens"] == whole["tokens"]).all()


@pytest.mark.parametrize("batch", [64, 50, 7])
def test_evaluation_sees_each_record_once_and_pads_with_weight_zero(words, batch):
  batches = list(pipeline.eval_batches(words, batch))
  assert {len(b["index"]) for b in batches} == {batch}
  whole = joined(batches)
  check_batch(whole)
  real = whole["weight"] == 1
  assert whole["index"][real].tolist() == list(range(150))
  assert (whole["weight"][~real] == 0).all()


def test_evaluation_by_buckets_and_processes_sees_each_record_once(buckets):
  parts = [
    list(pipeline.eval_batches(buckets, 8, process=p, num_processes=2)) for p in (0, 1)
  ]
  index = [b["index"][b["weight"] == 1] for b in parts[0] + parts[1]]
  assert sorted(np.concatenate(index)) == list(range(60))


def test_evaluation_can_stop_early(words):
  index = [b["index"] for b in pipeline.eval_batches(words, 5, limit=10)]
  assert np.concatenate(index).tolist() == list(range(10))


def test_a_batch_that_cannot_be_dealt_is_refused(words):
  with pytest.raises(ValueError, match=r"train\.batch = 10 cannot be dealt to 4"):
    pipeline.train_batches(words, seed=0, batch=10, num_processes=4)
  with pytest.raises(ValueError, match=r"eval\.batch = 0"):
    next(pipeline.eval_batches(words, 0))


def test_an_error_while_reading_ahead_reaches_the_reader(tmp_path):
  (tmp_path / "bad.png").write_bytes(b"nothing")
  (tmp_path / "labels.txt").write_text("bad.png word")
  dataset = datasets.load(
    {"name": "folder", "folder": str(tmp_path), "in_memory": False}, "train"
  )
  with pytest.raises(ValueError, match=r"bad\.png"):
    next(pipeline.train_batches(dataset, seed=0, batch=1, threads=2))
