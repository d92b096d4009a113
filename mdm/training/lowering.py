"""A config's step lowered for a kind of device of which nothing is installed.

Lowering goes up to what is handed to XLA: it traces the real step on a mesh of devices
that have a kind and no existence, and runs the lowering of our Pallas kernels for that
kind, so that a kernel that cannot be expressed there is found on any machine. What only
a compiler knows (memory, what is sent) needs `topology.py`.
"""

import collections
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import ml_collections
import numpy as np
from jax.sharding import AbstractDevice, AbstractMesh

from mdm.masks.choices import check_choice
from mdm.training.compiling import plan_config
from mdm.training.sharding import replicated

# The kind of device that kernels ask for, and what JAX calls its platform in meshes.
PLATFORMS = {
  "tpu": AbstractDevice("TPU v5 lite", 1, "tpu"),
  "cuda": AbstractDevice("NVIDIA H200", None, "gpu"),
}
_CALL = re.compile(r'stablehlo\.custom_call @"?([\w.$]+)')


class Lowered(NamedTuple):
  """A step that a platform takes, as far as can be known without its compiler.

  Attributes:
    platform: "tpu" or "cuda".
    devices: of the mesh.
    size: of the module, in characters.
    calls: how often each custom call occurs, by its target.
  """

  platform: str
  devices: int
  size: int
  calls: dict[str, int]

  def to_json(self) -> dict[str, Any]:
    """The same as plain types."""
    return self._asdict()

  def describe(self) -> list[str]:
    """Lines for people."""
    calls = ", ".join(f"{n} {name}" for name, n in self.calls.items()) or "none"
    return [
      f"lowers for {self.platform} on {self.devices} devices; not compiled",
      f"  module       {self.size:,} characters",
      f"  custom calls {calls}",
    ]


def lower_config(
  cfg: ml_collections.ConfigDict,
  batch: Mapping[str, jax.ShapeDtypeStruct],
  platform: str,
  *,
  devices: Sequence[jax.Device] | None = None,
) -> Lowered:
  """Lowers the training step of a config for a platform that need not be there.

  Args:
    cfg: the whole config.
    batch: of all devices: shape and dtype by name, as `plan_config` takes it.
    platform: one of `PLATFORMS`.
    devices: as many as the platform's are to be, of any kind.

  Raises:
    ValueError: an unknown platform; as `plan_config`.
  """
  check_choice("platform", platform, PLATFORMS)
  planned = plan_config(cfg, batch, devices=devices, kind=PLATFORMS[platform])
  step, state = planned.planned.step, planned.planned.abstract_state
  seed = jax.ShapeDtypeStruct((), np.uint32, sharding=replicated(planned.mesh))
  with jax.sharding.use_abstract_mesh(cast(AbstractMesh, planned.mesh)):
    traced = step.jitted.trace(state, planned.batch, seed)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
  calls = collections.Counter(_CALL.findall(text))
  return Lowered(platform, planned.mesh.size, len(text), dict(calls.most_common()))
