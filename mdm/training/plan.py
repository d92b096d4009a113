"""When things happen: a training's durations, resolved to numbers of steps."""

import dataclasses

from mdm.training import settings


@dataclasses.dataclass(frozen=True)
class Plan:
  """The training's numbers of steps, all durations resolved."""

  steps: int
  log_every: int
  eval_every: int
  checkpoint_every: int

  def is_due(self, what: str, step: int) -> bool:
    """Whether "log", "eval" or "checkpoint" happens after `step`."""
    every = getattr(self, f"{what}_every")
    return step == self.steps or (every > 0 and step % every == 0)


def make_plan(cfg: settings.Train, epoch: int) -> Plan:
  """Durations in steps, given the steps of one epoch."""
  total = settings.to_steps("train.steps", cfg.steps, total=0, epoch=epoch)
  settings.at_least("train.steps", total, 1)
  names = ("log_every", "eval_every", "checkpoint_every")
  return Plan(
    total,
    *(
      settings.to_steps(f"train.{n}", getattr(cfg, n), total=total, epoch=epoch)
      for n in names
    ),
  )
