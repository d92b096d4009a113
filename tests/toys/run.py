"""Trains the toy as a program: `python -m toys.run WORKDIR [--set k=v] [--slow S]`.

Exits as a command would: 0 at the end or after a signal that was honoured, 1 after an
error, whose text goes to standard error. The last line of standard output is a JSON
record of what happened, with counts of compilations and of hits in the cache.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

warnings.simplefilter("error")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def main() -> int:
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir")
  parser.add_argument("--set", action="append", default=[])
  parser.add_argument("--slow", type=float, default=0.0, help="seconds slept per batch")
  parser.add_argument("--slow-eval", type=float, default=0.0)
  parser.add_argument("--weigh", action="store_true", help="evaluate the parameters")
  parser.add_argument("--broken", type=int, help="the batch that cannot be read")
  parser.add_argument("--warns", action="store_true", help="warnings are no errors")
  args = parser.parse_args()
  if args.warns:
    warnings.simplefilter("default")

  import jax
  import numpy as np

  from mdm.training import config, processes
  from mdm.training.loop import train
  from toys import masked

  has_peers = processes.start_processes()

  counts = {"compiled": 0, "hits": 0}

  def listen(event: str, **_: object) -> None:
    counts["hits"] += event == "/jax/compilation_cache/cache_hits"
    counts["compiled"] += event == "/jax/compilation_cache/cache_misses"

  jax.monitoring.register_event_listener(listen)
  losses: list[float] = []

  def alarm(self: object, values: dict[str, float]) -> None:
    del self
    losses.append(values["loss"])

  masked.ToyMasked.alarm = alarm  # asked at each row, by every process
  cfg = masked.get_config()
  for override in args.set:
    key, _, text = override.partition("=")
    cfg.update_from_flattened_dict({key: config.parse_value(text)})

  def evaluate(variables: object) -> dict[str, float]:
    Path(args.workdir, "evaluating").touch()
    time.sleep(args.slow_eval)
    leaves = jax.tree.leaves(variables) if args.weigh else []
    size = {"size": float(sum(abs(np.asarray(x)).sum() for x in leaves))}
    return {"one": 1.0} | (size if args.weigh else {})

  try:
    outcome = train(
      cfg.lock(),
      args.workdir,
      feed=slowed(masked.make_feed(cfg.train.batch, broken=args.broken), args.slow),
      evaluators={"toy": evaluate},
    )
  except (ValueError, RuntimeError) as error:
    text = processes.describe_loss(error) or str(error)
    print(f"{type(error).__name__}: {text}", file=sys.stderr)
    if has_peers:
      processes.leave(1)
    return 1
  print(
    json.dumps(
      {
        "step": int(outcome.state.step),
        "stopped": outcome.stopped,
        "losses": losses,
        **counts,
      }
    )
  )
  return 0


def slowed(feed: object, seconds: float) -> object:
  """The feed, each batch late by some seconds."""
  import dataclasses

  def batches(start: int) -> Iterator:
    for batch in feed.batches(start):
      time.sleep(seconds)
      yield batch

  return dataclasses.replace(feed, batches=batches) if seconds else feed


if __name__ == "__main__":
  sys.exit(main())
