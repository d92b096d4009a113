"""The loop's settings: the schema of three sections: train, optimizer and sharding.

Each section of a config is a frozen dataclass. Its fields are the section's keys, its
types are checked, its `__post_init__` states what lies in range. A duration is a number
of steps, or a string: "500 steps", "2 epochs", "5%" of the whole training.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

Duration = int | str
SCHEDULE = ("learning_rate", "schedule", "warmup", "decay", "drops", "drop", "end")


@dataclasses.dataclass(frozen=True)
class Train:
  """How long, on how much at a time, and what is kept.

  Attributes:
    steps: length of the training; a duration in steps or epochs.
    batch: examples per step, over all devices, processes and micro-batches.
    accumulate: number of micro-batches that one step's batch is cut into.
    log_every: how often metrics are written.
    eval_every: how often evaluators run; 0 for at the end only.
    checkpoint_every: how often the state is saved; the last step always is.
    keep: how many of the newest checkpoints stay on disk.
    on_nan: "stop" ends with an error that names step and metric; "skip" leaves the
      parameters as they were and counts the step in `skipped`.
    on_alarm: what to do if the method finds its metrics alarming, as codes that become
      one: "warn" says so, "stop" ends with an error.
    on_corrupt: what to do if the newest checkpoint is damaged: "previous" falls back
      to the one before it with a warning, "raise" ends with an error.
    ema: decay of the averaged parameters used for evaluation; 0 for none.
    threads: data-loading threads of a process.
  """

  steps: Duration = 1_000
  batch: int = 64
  accumulate: int = 1
  log_every: Duration = 50
  eval_every: Duration = 0
  checkpoint_every: Duration = "10%"
  keep: int = 3
  on_nan: Literal["stop", "skip"] = "stop"
  on_alarm: Literal["warn", "stop"] = "warn"
  on_corrupt: Literal["previous", "raise"] = "previous"
  ema: float = 0.0
  threads: int = 2

  def __post_init__(self) -> None:
    at_least("train.batch", self.batch, 1)
    at_least("train.accumulate", self.accumulate, 1)
    at_least("train.keep", self.keep, 1)
    at_least("train.threads", self.threads, 1)
    within("train.ema", self.ema, 0.0, 1.0)
    if self.batch % self.accumulate:
      raise ValueError(
        f"train.batch = {self.batch} is no multiple of train.accumulate = "
        f"{self.accumulate}; choose a batch that divides into equal micro-batches."
      )


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """What optax is asked for.

  Attributes:
    name: "adamw", "lion", "sgd", "lars", "lamb", "muon" (matrices by Muon, tables and
      the rest by Adam) or "adafactor" (Adam whose second moments of large matrices are
      kept as a row and a column; without first moments where `b1` is 0).
    learning_rate: the peak of the schedule.
    scale_batch: the batch that this rate is for: the peak is `learning_rate *
      train.batch / scale_batch`; 0 where the rate is for `train.batch` itself.
    schedule: shape after warm-up: "constant", "cosine", "linear", "wsd" (constant,
      then linear over the last `decay` of the steps), "onecycle" (half cosines up
      from a 25th of the peak and down), "multistep" (constant, times `drop` at each
      of `drops`), or "rsqrt" (the peak times the root of warm-up over steps).
    warmup: how long the rate rises, linearly from 0 unless "onecycle".
    decay: length of the fall of "wsd".
    drops: when the rate of "multistep" falls: durations from the first step.
    drop: by which factor it falls there.
    end: last rate as a share of the peak.
    weight_decay: decoupled, on matrices only: vectors (biases, norms) are exempt.
    clip: bound on the gradient's global norm; 0 for none.
    layer_decay: factor per layer below the top on the rate (1 for none).
    parts: settings of the schedule that are others for a part of the network, by the
      beginning of its parameters' paths: {"encoder": {"learning_rate": 3e-4, "warmup":
      5000}}. What is not set is as for the rest.
    b1: first moment's decay (momentum of "sgd", "lars" and "muon").
    nesterov: whether the momentum of "sgd" or "lars" is Nesterov's.
    b2: second moment's decay.
    eps: added to the root of the second moment.
  """

  name: Literal["adafactor", "adamw", "lamb", "lars", "lion", "muon", "sgd"] = "adamw"
  learning_rate: float = 1e-3
  scale_batch: int = 0
  schedule: Literal[
    "constant", "cosine", "linear", "multistep", "onecycle", "rsqrt", "wsd"
  ] = "cosine"
  warmup: Duration = "5%"
  decay: Duration = "20%"
  drops: tuple[Duration, ...] = ()
  drop: float = 0.1
  end: float = 0.0
  weight_decay: float = 0.05
  clip: float = 1.0
  layer_decay: float = 1.0
  parts: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  nesterov: bool = False

  def __post_init__(self) -> None:
    at_least("optimizer.learning_rate", self.learning_rate, 0.0)
    at_least("optimizer.scale_batch", self.scale_batch, 0)
    at_least("optimizer.weight_decay", self.weight_decay, 0.0)
    at_least("optimizer.clip", self.clip, 0.0)
    for name in ("end", "drop", "layer_decay", "b1", "b2"):
      within(f"optimizer.{name}", getattr(self, name), 0.0, 1.0)
    if self.nesterov and self.name not in ("lars", "sgd"):
      raise ValueError(
        f"optimizer.nesterov = True is for sgd and lars, not for {self.name}; set it "
        "to False."
      )
    if (self.schedule == "multistep") != bool(self.drops):
      raise ValueError(
        f"optimizer.drops = {self.drops} and optimizer.schedule = {self.schedule!r}; "
        'give drops, such as ("90%",), to the schedule "multistep" and to no other.'
      )
    for part, changes in self.parts.items():
      if not isinstance(changes, Mapping):
        raise ValueError(
          f"optimizer.parts.{part} = {changes!r} is no set of settings; write "
          '{"learning_rate": 1e-4}.'
        )
      if unknown := [key for key in changes if key not in SCHEDULE]:
        raise ValueError(
          f"optimizer.parts.{part} sets {unknown[0]}, but a part has only "
          f"{', '.join(SCHEDULE)} of its own; set it for all."
        )


@dataclasses.dataclass(frozen=True)
class Sharding:
  """How state and batch lie on the devices.

  Attributes:
    preset: "dp" (state on every device), "fsdp" (state cut along the width),
      "fsdp+tp" (heads, hidden units and vocabulary cut too), or "sequence" (as "fsdp",
      and activations cut along their tokens).
    data: devices along the mesh axis that only splits the batch; -1 for what is left.
    fsdp: devices along the axis that splits batch and state.
    tensor: devices along the axis that splits single layers.
    sequence: devices along the axis that splits the tokens of each sequence.
    Axes left at 0 are chosen by the preset.
  """

  preset: Literal["dp", "fsdp", "fsdp+tp", "sequence"] = "dp"
  data: int = 0
  fsdp: int = 0
  tensor: int = 0
  sequence: int = 0

  def __post_init__(self) -> None:
    for name in ("data", "fsdp", "tensor", "sequence"):
      at_least(f"sharding.{name}", getattr(self, name), -1)


def at_least(name: str, value: int | float, low: int | float) -> None:
  """Raises ValueError if `value` lies below `low`."""
  if value < low:
    raise ValueError(f"{name} = {value} is too small; it must be at least {low}.")


def within(name: str, value: int | float, low: int | float, high: int | float) -> None:
  """Raises ValueError if `value` lies outside [low, high]."""
  if not low <= value <= high:
    hint = (
      f"; write {value / 100:g} for {value:g}%"
      if 1 < value <= 100 * high == 100
      else ""
    )
    raise ValueError(f"{name} = {value} lies outside [{low}, {high}]{hint}.")


def to_steps(name: str, duration: Duration, *, total: int, epoch: int) -> int:
  """A duration in steps.

  Args:
    name: the setting's name, for the error.
    duration: steps, "N steps", "N epochs", or "N%" of `total`.
    total: steps of the whole training.
    epoch: steps of one pass over the data.

  Raises:
    ValueError: the duration is negative or of no known form.
  """
  scales = {"steps": 1.0, "step": 1.0, "epochs": epoch, "epoch": epoch}
  try:
    if isinstance(duration, int):
      steps = duration
    elif duration.endswith("%"):
      steps = round(float(duration[:-1]) / 100 * total)
    else:
      number, unit = duration.split()
      steps = round(float(number) * scales[unit])
  except (ValueError, KeyError):
    raise ValueError(
      f'{name} = {duration!r} is no duration; write 500, "500 steps", "2 epochs" or '
      '"5%".'
    ) from None
  at_least(name, steps, 0)
  return steps
