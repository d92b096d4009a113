"""Settings and durations: what lies out of range is named with its remedy."""

import pytest

from mdm.training.settings import Optimizer, Sharding, Train, to_steps


@pytest.mark.parametrize(
  ("duration", "steps"),
  [(7, 7), ("7 steps", 7), ("1 step", 1), ("3 epochs", 30), ("0.5 epochs", 5),
   ("1 epoch", 10), ("5%", 10), ("12.5%", 25), (0, 0)],
)  # fmt: skip
def test_durations_are_steps_epochs_or_shares(duration, steps):
  assert to_steps("train.x", duration, total=200, epoch=10) == steps


@pytest.mark.parametrize("duration", ["7 days", "many", "%", "7", "", "7 steps more"])
def test_what_is_no_duration_is_named_with_the_forms_there_are(duration):
  with pytest.raises(ValueError, match=r"train\.warmup = .* is no duration; write 500"):
    to_steps("train.warmup", duration, total=200, epoch=10)


def test_a_negative_duration_is_refused():
  with pytest.raises(ValueError, match=r"train\.steps = -5 is too small"):
    to_steps("train.steps", -5, total=0, epoch=10)


@pytest.mark.parametrize(
  ("section", "given", "message"),
  [
    (Train, {"batch": 0}, r"train\.batch = 0 is too small; it must be at least 1"),
    (Train, {"keep": 0}, r"train\.keep = 0"),
    (Train, {"threads": 0}, r"train\.threads = 0"),
    (Train, {"ema": 99.0}, r"train\.ema = 99\.0 lies outside .*; write 0\.99 for 99%"),
    (
      Train,
      {"batch": 10, "accumulate": 4},
      "10 is no multiple of train.accumulate = 4",
    ),
    (Optimizer, {"learning_rate": -1.0}, r"optimizer\.learning_rate = -1\.0"),
    (Optimizer, {"b2": 95.0}, r"write 0\.95 for 95%"),
    (Optimizer, {"layer_decay": -0.1}, r"optimizer\.layer_decay = -0\.1 lies outside"),
    (Optimizer, {"scale_batch": -1}, r"optimizer\.scale_batch = -1"),
    (Optimizer, {"nesterov": True}, "is for sgd and lars, not for adamw"),
    (Optimizer, {"schedule": "multistep"}, r'such as \("90%",\), to the schedule'),
    (Optimizer, {"drops": (5,)}, r"optimizer\.schedule = 'cosine'; give drops"),
    (Optimizer, {"drop": 10.0}, r"optimizer\.drop = 10\.0 lies outside"),
    (Sharding, {"data": -2}, r"sharding\.data = -2 is too small"),
  ],
)
def test_values_out_of_range_are_refused(section, given, message):
  with pytest.raises(ValueError, match=message):
    section(**given)
