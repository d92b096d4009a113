"""What a trained model is asked for, compiled for devices that need not be there.

The verb is the method's own: to sample texts or pixels, to write down speech, to read
words, to fill in patches, to name classes. Its function is the one that `mdm sample`
and `mdm predict` jit; variables lie as in training, rows are cut as a batch is.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from mdm.api.canvases import Canvas
from mdm.api.writing import check_canvas, is_timeless, make_settings
from mdm.evaluation.flops import count_flops
from mdm.evaluation.samples import make_sampler
from mdm.evaluation.transcripts import make_hearer
from mdm.evaluation.verbs import VERBS, has_verb
from mdm.evaluation.words import make_reader
from mdm.masks.keys import example_keys
from mdm.methods.base import Method
from mdm.training import build
from mdm.training.compiling import (
  CompiledStep,
  PlannedConfig,
  bytes_per_device,
  count_temporary,
  platform_of,
)
from mdm.training.keys import stream_keys
from mdm.training.sharding import batch_sharding

ASKED = ("sample", "transcribe", "reconstruct", "predict", "classify")
INPUTS = {
  "transcribe": ("audio", "audio_length", "index"),
  "reconstruct": ("image", "index"),
  "predict": ("image", "index"),
  "classify": ("image",),
}
Shapes = dict[str, jax.ShapeDtypeStruct]


class PlannedSampler(NamedTuple):
  """What is asked of a model, not compiled.

  Attributes:
    verb: one of `ASKED`.
    run: jitted, of variables and what `args` are.
    args: shapes with shardings, variables first.
    batch: those of them that have rows, by name.
  """

  verb: str
  run: Any
  args: tuple[Any, ...]
  batch: Shapes


def plan_sampler(
  cfg: ml_collections.ConfigDict, planned: PlannedConfig, rows: int | None = None
) -> PlannedSampler:
  """The function that a config's model is asked with, and the shapes that it takes.

  Texts and pixels are drawn by the ancestral sampler with its usual number of passes,
  words and speech read as `mdm predict` does without options.

  Args:
    cfg: the config.
    planned: its training step, which says where parameters lie.
    rows: how many at once, over all devices; None for one to each that has rows.

  Raises:
    ValueError: the method has nothing to be asked for, or rows do not divide.
  """
  method = build.build_method(cfg, platform_of(planned.mesh))
  verb = find_verb(method)
  along, size = batch_sharding(planned.mesh), planned.mesh.size
  ways = size // along.shard_shape((size,))[0]
  count = ways if rows is None else rows
  if count < 1 or count % ways:
    raise ValueError(
      f"--rows {count} does not divide over {ways} devices; use a multiple of {ways}."
    )

  def row(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    """As many rows of something."""
    return jax.ShapeDtypeStruct((count, *shape), dtype, sharding=along)

  variables = planned.planned.abstract_state.variables()
  if verb == "sample":
    size = planned.batch["tokens"].shape[1]
    keys = jax.eval_shape(lambda: example_keys(jax.random.key(0), jnp.arange(count)))
    drawn = {"keys": row((), keys.dtype), "tokens": row((size,), np.int32)}
    run = _sampler(method, size)
    return PlannedSampler(verb, run, (variables, *drawn.values()), drawn)
  batch = {k: row(planned.batch[k].shape[1:], planned.batch[k].dtype)
           for k in INPUTS[verb] if k in planned.batch}  # fmt: skip
  return PlannedSampler(verb, _asker(method, verb), (variables, batch), batch)


def find_verb(method: Method) -> str:
  """What a method is asked for once it is trained.

  Raises:
    ValueError: nothing: it gives features, or only losses.
  """
  for verb in ASKED:
    if has_verb(method, verb):
      return verb
  name = type(method).__name__
  can = ", ".join(VERBS[verb].split(" (")[0] for verb in ASKED)
  raise ValueError(
    f"{name} has nothing to sample: it does not {can}; leave out --what sample."
  )


def compile_sampler(
  planned: PlannedConfig, sampler: PlannedSampler
) -> tuple[CompiledStep, float, bool]:
  """Lowers and compiles it.

  Returns:
    what was compiled; FLOPs of its products, over all devices; and whether it loops
    until it is done. Then it is of one pass of each loop that FLOPs and what is sent
    are told.
  """
  variables = sampler.args[0]
  with jax.set_mesh(planned.mesh):
    program = sampler.run.lower(*sampler.args).compile()
    try:
      flops, loops = count_flops(sampler.run, *sampler.args), False
    except ValueError:
      flops, loops = count_flops(sampler.run, *sampler.args, turns=1), True
  memory = {
    "parameters": bytes_per_device(variables["params"]),
    "state": bytes_per_device(variables),
    "batch": bytes_per_device(sampler.batch),
  }
  memory["temporary"] = count_temporary(program, planned.mesh, memory)
  step = CompiledStep(
    program, planned.planned, sampler.batch, planned.parameters, memory
  )
  return step, flops, loops


def _sampler(method: Method, size: int) -> Any:
  """A jitted function of variables, keys and canvases without anything given."""
  mask_id = int(getattr(method, "mask_id"))  # noqa: B009
  everything, nothing = np.ones(size, bool), np.zeros(size, bool)
  canvas = Canvas(np.full(size, mask_id, np.int32), everything, nothing)
  settings = make_settings(
    "ancestral", None, canvas, {}, eos_id=None, is_timeless=is_timeless(method)
  )
  check_canvas(method, "ancestral", settings, canvas)
  return make_sampler(method, "ancestral", settings)


def _asker(method: Method, verb: str) -> Any:
  """A jitted function of variables and a batch."""
  if verb == "transcribe":
    return make_hearer(method)
  if verb == "predict":
    return make_reader(method)
  ask: Callable[..., Any] = functools.partial(method.apply, method=verb)

  @jax.jit
  def run(variables: Mapping[str, Any], batch: Mapping[str, Any]) -> Any:
    """One batch."""
    return ask(variables, batch, rngs=stream_keys(0, 0))

  return run
