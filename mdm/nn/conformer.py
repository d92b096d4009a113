"""Conformer stacks: half an MLP, attention, a convolution, half an MLP; depth times.

  x += 1/2 mlp(x);  x += attention(x);  x += convolution(x);  x += 1/2 mlp(x);  norm(x)

Every branch begins with a norm. What lies in padding changes nothing elsewhere, NaN
included: it is set to 0 on the way in, before each convolution and on the way out, it
is hidden from attention, and batch and group norms count valid frames only.

Source: *Conformer: Convolution-augmented Transformer for Speech Recognition*, 2020,
section 2. Without positions and with a window it is the encoder of w2v-BERT as
*Guided Data Selection for Masked Speech Modeling*, 2022, describes it.
Differences: `norm="layer"` after the depthwise convolution, not batch norm; the kernel
in front of the gate starts as the two matrices that it is, as in praxis.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mdm.masks.choices import check_choice
from mdm.nn.attention import NOTES, Attention
from mdm.nn.depthwise import convolve_frames
from mdm.nn.layers import Initializer, LayerNorm, Linear, Mlp, named
from mdm.nn.masked_norms import MaskedBatchNorm, MaskedGroupNorm, zero_padding
from mdm.nn.relative_attention import RelativeAttention
from mdm.nn.rotary import RotaryAttention, make_rotation
from mdm.nn.transformer import rematerialised

POSITIONS = ("relative", "rotary", "none")
NORMS = ("layer", "batch", "group")
GROUPS = 8  # of channels, in a group norm
# Two matrices side by side have a fan that is 3/2 of each one's (Xavier's mean of in
# and out): without the gain they would start sqrt(2/3) as large.
GATE_INIT = nn.initializers.variance_scaling(1.5, "fan_avg", "normal")
_PASSED_ON = (  # what a stack tells its blocks
  "heads",
  "kernel",
  "mlp_ratio",
  "positions",
  "norm",
  "causal",
  "conv_first",
  "dropout",
  "epsilon",
  "dtype",
)


class ConvModule(nn.Module):
  """norm, linear to 2 d, gate, depthwise convolution, norm, SiLU, linear to d.

  Parameters: `norm_in`, `gate`, `depthwise` [kernel d], `norm`, `out`.
  """

  kernel: int
  norm: str = "layer"
  causal: bool = False
  epsilon: float = 1e-6
  kernel_init: Initializer = nn.initializers.xavier_normal()
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b n d"], valid: Bool[Array, "b n"], *, train: bool
  ) -> Float[Array, "b n d"]:
    """Mixes each frame with its neighbours, channel by channel."""
    width = x.shape[-1]
    x = LayerNorm(self.epsilon, name="norm_in")(x)
    gate = Linear(
      (2, width),
      ("embed", None, "mlp"),
      kernel_init=GATE_INIT,
      dtype=self.dtype,
      name="gate",
    )
    y = gate(x)  # b n 2 d
    y = y[:, :, 0] * nn.sigmoid(y[:, :, 1])  # b n d
    y = zero_padding(y, valid)  # the gate's bias is in it
    init = named(nn.initializers.lecun_normal(), None, "mlp")  # fan in: the kernel
    weights = self.param("depthwise", init, (self.kernel, width))
    y = convolve_frames(y, jnp.asarray(weights, self.dtype), causal=self.causal)
    y = nn.silu(self._normalise(y, valid, train=train))
    out = Linear(
      (width,),
      ("mlp", "embed"),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name="out",
    )
    return out(y)

  def _normalise(
    self, y: Float[Array, "b n d"], valid: Bool[Array, "b n"], *, train: bool
  ) -> Float[Array, "b n d"]:
    """The norm after the depthwise convolution."""
    if self.norm == "batch":
      return MaskedBatchNorm(name="norm")(y, valid, train=train)
    if self.norm == "group":
      return MaskedGroupNorm(GROUPS, name="norm")(y, valid)
    return LayerNorm(self.epsilon, name="norm")(y)


class ConformerBlock(nn.Module):
  """One layer. Notes: `layer`, what comes out of it."""

  heads: int
  kernel: int = 7
  mlp_ratio: float = 4.0
  positions: str = "relative"
  norm: str = "layer"
  causal: bool = False
  conv_first: bool = False
  dropout: float = 0.0
  epsilon: float = 1e-6
  deterministic: bool = True
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n d"],
    valid: Bool[Array, "b n"],
    visible: Bool[Array, "b 1 #n n"],
  ) -> Float[Array, "b n d"]:
    """Applies the layer to frames that are 0 in padding; finite values there after."""
    x = x + 0.5 * self._think(x, "mlp_first")
    if self.conv_first:
      x = self._look(self._convolve(x, valid), visible)
    else:
      x = self._convolve(self._look(x, visible), valid)
    x = x + 0.5 * self._think(x, "mlp_last")
    x = zero_padding(LayerNorm(self.epsilon, name="norm")(x), valid)
    if not self.is_initializing():  # notes are no variables
      self.sow(NOTES, "layer", x)
    return x

  def _think(self, x: Float[Array, "b n d"], name: str) -> Float[Array, "b n d"]:
    """An MLP of each frame by itself."""
    hidden = round(x.shape[-1] * self.mlp_ratio)
    mlp = Mlp(hidden, "silu", self.dropout, dtype=self.dtype, name=name)
    y = LayerNorm(self.epsilon, name=f"norm_{name}")(x)
    return mlp(y, train=not self.deterministic)

  def _look(
    self, x: Float[Array, "b n d"], visible: Bool[Array, "b 1 #n n"]
  ) -> Float[Array, "b n d"]:
    """Adds the attention of frames to each other."""
    y = LayerNorm(self.epsilon, name="norm_attention")(x)
    if self.positions == "relative":
      y = RelativeAttention(self.heads, dtype=self.dtype, name="attention")(
        y, visible=visible
      )
    elif self.positions == "rotary":
      rotary = RotaryAttention(
        self.heads, use_bias=True, dtype=self.dtype, name="attention"
      )
      angles = make_rotation(jnp.arange(x.shape[1])[None], x.shape[2] // self.heads)
      y, _ = rotary(y, angles, visible)
    else:
      y = Attention(self.heads, dtype=self.dtype, name="attention")(y, visible=visible)
    return x + nn.Dropout(self.dropout, deterministic=self.deterministic)(y)

  def _convolve(
    self, x: Float[Array, "b n d"], valid: Bool[Array, "b n"]
  ) -> Float[Array, "b n d"]:
    """Adds the convolution of frames."""
    module = ConvModule(
      self.kernel,
      self.norm,
      causal=self.causal,
      epsilon=self.epsilon,
      dtype=self.dtype,
      name="conv",
    )
    y = module(x, valid, train=not self.deterministic)
    return x + nn.Dropout(self.dropout, deterministic=self.deterministic)(y)


class Conformer(nn.Module):
  """`depth` blocks: [b n e] -> [b n width], 0 in padding.

  Parameters: `embed` where the input has another width, and `block_0`, ..., or stacked
  `blocks` with `scan`; the last layer ends in a norm, as every one.

  Attributes:
    width: of the result; None for that of the input. An input of another width is
      mapped to it.
    kernel: frames of the depthwise convolution, odd unless `causal`.
    positions: "relative" (Transformer-XL's), "rotary" or "none".
    window: frames that are seen before and after each; None for all.
    norm: after the depthwise convolution: "layer", "batch" or "group".
    causal: whether no frame depends on a later one.
    conv_first: whether the convolution comes before attention.
    remat: "none", "dots" or "full", see `rematerialised`.
    scan: one compiled block for all layers, parameters stacked in `blocks`.
  """

  depth: int
  heads: int
  width: int | None = None
  kernel: int = 7
  mlp_ratio: float = 4.0
  positions: str = "relative"
  window: tuple[int, int] | None = None
  norm: str = "layer"
  causal: bool = False
  conv_first: bool = False
  dropout: float = 0.0
  epsilon: float = 1e-6
  remat: str = "none"
  scan: bool = False
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n e"],
    valid: Bool[Array, "b n"],
    *,
    train: bool,
    layer: int | None = None,
  ) -> Float[Array, "b n d"]:
    """Encodes frames; those that are not valid may hold anything.

    Args:
      layer: how many blocks to go through, from 0, what the first one gets, to `depth`;
        None for all. Parameters of the others are there all the same.

    Raises:
      ValueError: a setting that is none, or settings that contradict each other; no
        such layer.
    """
    self._check()
    check_layer(layer, self.depth)
    x = zero_padding(x.astype(self.dtype), valid)
    if self.width is not None and self.width != x.shape[-1]:
      embed = Linear((self.width,), (None, "embed"), dtype=self.dtype, name="embed")
      drop = nn.Dropout(self.dropout, deterministic=not train)
      x = zero_padding(drop(embed(x)), valid)
    visible = frames_visible(valid, self.window, causal=self.causal)  # b 1 #n n
    block = rematerialised(ConformerBlock, self.remat, scanned=self.scan)
    settings = {name: getattr(self, name) for name in _PASSED_ON}
    settings["deterministic"] = not train
    if self.scan:
      return self._scan(block(name="blocks", **settings), x, valid, visible, layer)
    for i in range(self.depth):
      made = block(name=f"block_{i}", **settings)
      if layer is None or i < layer:
        x = made(x, valid, visible)
      elif self.is_initializing():
        made(x, valid, visible)
    return x

  def _scan(
    self,
    block: nn.Module,
    x: Float[Array, "b n d"],
    valid: Bool[Array, "b n"],
    visible: Bool[Array, "b 1 #n n"],
    layer: int | None,
  ) -> Float[Array, "b n d"]:
    """All blocks in one loop; those above `layer` are computed and not used."""

    def body(
      block: nn.Module, x: jax.Array, number: jax.Array
    ) -> tuple[jax.Array, None]:
      """One layer."""
      y = block(x, valid, visible)
      return (y if layer is None else jnp.where(number < layer, y, x)), None

    layers = nn.scan(
      body,
      variable_axes={"params": 0, "batch_stats": 0, NOTES: 0},
      split_rngs={"params": True, "dropout": True},
      length=self.depth,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    return layers(block, x, jnp.arange(self.depth))[0]

  def _check(self) -> None:
    check_choice("positions", self.positions, POSITIONS)
    check_choice("norm", self.norm, NORMS)
    if self.kernel < 1 or not (self.kernel % 2 or self.causal):
      raise ValueError(
        f"kernel = {self.kernel} has no middle frame; make it odd, or set causal."
      )
    if self.window is not None and min(self.window) < 0:
      raise ValueError(
        f"window = {self.window} must be two numbers of frames, before and after; "
        "write (64, 64) for 128 in all."
      )
    if self.causal and self.norm == "group":
      raise ValueError(
        "norm = 'group' takes moments over all frames, later ones too, and causal is "
        "set; choose norm='layer'."
      )


def check_layer(layer: int | None, depth: int) -> None:
  """Raises ValueError unless `layer` is None or a number of blocks up to `depth`."""
  if layer is not None and not 0 <= layer <= depth:
    raise ValueError(
      f"layer = {layer} is read where there are {depth} blocks; write 0, what enters "
      f"the first, to {depth}."
    )


def frames_visible(
  valid: Bool[Array, "b n"],
  window: tuple[int, int] | None = None,
  *,
  causal: bool = False,
) -> Bool[Array, "b 1 #n n"]:
  """What each frame may look at: valid frames, at most so many before and after it."""
  visible = valid[:, None, None]  # b 1 1 n
  if window is None and not causal:
    return visible
  place = jnp.arange(valid.shape[1])
  ahead = place - place[:, None]  # of the frame looked at
  before, after = (len(place), len(place)) if window is None else window
  return visible & (ahead >= -before) & (ahead <= (0 if causal else after))
