"""How much audio becomes features in a second: of one core, or of an accelerator."""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np

from mdm.kernels.dispatch import target_platform
from mdm.nn.log_mel import CONVENTIONS, LogMel, log_mel

RATES = (16_000, 8000)


def bench_frontend(
  *, rounds: int = 7, batch: int = 16, seconds: float = 10.0
) -> dict[str, float]:
  """Seconds of audio per second, by convention and rate; medians over rounds.

  On a CPU a second is one of a core: the process's time on all of its cores. Elsewhere
  it is one of the device.

  Args:
    rounds: batches that are timed.
    batch: clips at once.
    seconds: length of each.
  """
  on_cpu = target_platform() == "cpu"
  clock = time.process_time if on_cpu else time.perf_counter
  run = jax.jit(log_mel, static_argnums=2)
  speeds = {}
  for name in CONVENTIONS:
    for rate in RATES:
      noise = np.random.default_rng(0).normal(size=(batch, int(seconds * rate)))
      audio = jnp.asarray(0.1 * noise, jnp.float32)
      length = jnp.full(batch, audio.shape[1], jnp.int32)
      times = []
      for _ in range(rounds + 1):  # the first compiles
        began = clock()
        jax.block_until_ready(run(audio, length, LogMel(name, rate)))
        times.append(clock() - began)
      unit = "core_s" if on_cpu else "s"
      speed = batch * seconds / max(statistics.median(times[1:]), 1e-9)
      speeds[f"frontend/{name}_{rate // 1000}khz_audio_s_per_{unit}"] = speed
  return speeds
