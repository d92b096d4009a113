"""Pre-norm blocks of rotary attention and MLP, which a condition may modulate.

Without a condition: x + attention(norm(x)), then x + mlp(norm(x)). With one, a norm is
shifted and scaled by it and each branch gated, all by vectors that start at zero, so
that a block starts as the identity.

Source: *Scalable Diffusion Models with Transformers*, Peebles and Xie, 2023, section
3.2 (adaLN-Zero block); *LLaMA: Open and Efficient Foundation Language Models*, 2023,
section 2.2 (no condition, RMS norm, SwiGLU).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.choices import check_choice
from mdm.nn.conditioning import Modulation, make_norm, modulate
from mdm.nn.layers import ACTIVATIONS, GATES, GatedMlp, Initializer, Mlp
from mdm.nn.rotary import KeyValue, RotaryAttention, Rotation
from mdm.nn.transformer import rematerialised

_OWN = (
  "depth",
  "remat",
  "scan",
  "parent",
  "name",
)  # what a stack keeps from its blocks
_INIT = nn.initializers.lecun_normal()


class ModulatedBlock(nn.Module):
  """One layer; see `ModulatedStack` for its settings."""

  heads: int
  kv_heads: int | None = None
  mlp_ratio: float = 4.0
  mlp: str = "gelu"
  norm: str = "layer"
  use_bias: bool = True
  qk_norm: bool = False
  dropout: float = 0.0
  epsilon: float = 1e-6
  mlp_init: Initializer = _INIT
  deterministic: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    cond: Float[Array, "b e"] | None = None,
    rotation: Rotation | None = None,
    visible: Bool[Array, "#b 1 #n m"] | None = None,
    past: KeyValue | None = None,
    start: Int[Array, ""] | int = 0,
  ) -> tuple[Float[Array, "b n d"], KeyValue]:
    """Applies the layer; arguments and the second result as in `RotaryAttention`."""
    shifts: Any = [None] * 6
    if cond is not None:
      shifts = Modulation(6, x.shape[-1], self.dtype, name="modulation")(cond)
    attention = RotaryAttention(
      self.heads,
      self.kv_heads,
      self.use_bias,
      self.qk_norm,
      self.epsilon,
      dtype=self.dtype,
      name="attention",
    )
    y = self._norm("norm_attention", x, *shifts[:2])
    y, pair = attention(y, rotation, visible, past, start)
    x = self._add(x, y, shifts[2])
    y = self._mlp(x.shape[-1])(self._norm("norm_mlp", x, *shifts[3:5]))
    return self._add(x, y, shifts[5]), pair

  def _norm(self, name, x, shift, scale):  # noqa: ANN001, ANN202
    """The norm of a branch, modulated where there is a condition."""
    norm = make_norm(
      self.norm,
      epsilon=self.epsilon,
      is_modulated=shift is not None,
      use_bias=self.use_bias,
      name=name,
    )
    return norm(x) if shift is None else modulate(norm(x), shift, scale)

  def _add(self, x, y, gate):  # noqa: ANN001, ANN202
    """Adds a branch, after dropout and gate."""
    y = nn.Dropout(self.dropout, deterministic=self.deterministic)(y)
    return x + (y if gate is None else gate * y)

  def _mlp(self, width: int) -> Any:
    check_choice("mlp", self.mlp, (*GATES, *ACTIVATIONS))
    hidden = round(width * self.mlp_ratio)
    make: dict[str, Any] = {
      "use_bias": self.use_bias,
      "kernel_init": self.mlp_init,
      "dtype": self.dtype,
      "name": "mlp",
    }
    if self.mlp in GATES:
      return GatedMlp(hidden, self.mlp, **make)
    mlp = Mlp(hidden, self.mlp, **make)
    return lambda x: mlp(x, train=False)  # dropout is the branch's


class ModulatedStack(nn.Module):
  """`depth` blocks, unrolled or scanned, without a norm at the end.

  Attributes:
    kv_heads: heads of keys and values; None for as many as `heads`.
    mlp: an activation ("gelu", "gelu_tanh", "relu", "silu") or a gate ("swiglu",
      "geglu", "sigmoid-gated").
    norm: "layer" or "rms".
    use_bias: whether linear maps and layer norms have one; modulations always do.
    dropout: on each branch.
    depth_scaled: MLP kernels start with variance 2 / (depth * fan in), as in MD4.
    remat: "none", "dots" or "full", see `transformer.rematerialised`.
    scan: one compiled block for all layers; parameters stacked in `blocks`.
  """

  depth: int
  heads: int
  kv_heads: int | None = None
  mlp_ratio: float = 4.0
  mlp: str = "gelu"
  norm: str = "layer"
  use_bias: bool = True
  qk_norm: bool = False
  dropout: float = 0.0
  epsilon: float = 1e-6
  depth_scaled: bool = False
  remat: str = "none"
  scan: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    cond: Float[Array, "b e"] | None = None,
    rotation: Rotation | None = None,
    visible: Bool[Array, "#b 1 #n m"] | None = None,
    past: KeyValue | None = None,
    start: Int[Array, ""] | int = 0,
    *,
    train: bool,
  ) -> tuple[Float[Array, "b n d"], KeyValue | None]:
    """All blocks in turn; `past` and what becomes of it have a first axis of layers."""
    block = rematerialised(ModulatedBlock, self.remat, scanned=self.scan)
    shared = (cond, rotation, visible)
    make = self._block_settings(train)
    if self.scan:
      return self._scan(block(name="blocks", **make), x, shared, past, start)
    pairs = []
    for i in range(self.depth):
      own = None if past is None else KeyValue(past.key[i], past.value[i])
      x, pair = block(name=f"block_{i}", **make)(x, *shared, own, start)
      pairs.append(pair)
    if past is None:
      return x, None
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)

  def _block_settings(self, train: bool) -> dict[str, Any]:
    kept = (*_OWN, "depth_scaled")
    names = [name for name in self.__dataclass_fields__ if name not in kept]
    settings = {name: getattr(self, name) for name in names}
    if self.depth_scaled:
      settings["mlp_init"] = nn.initializers.variance_scaling(
        2.0 / self.depth, "fan_in", "truncated_normal"
      )
    return settings | {"deterministic": not train}

  def _scan(self, block, x, shared, past, start):  # noqa: ANN001, ANN202
    def body(block: nn.Module, x: jax.Array, past: KeyValue | None) -> tuple:
      """One layer of the scan."""
      x, pair = block(x, *shared, past, start)
      return x, None if past is None else pair

    layers = nn.scan(
      body,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      length=self.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return layers(block, x, past)
