"""One backbone for text: tokens, some of them hidden, to logits of every position.

Token ids 0..V-1 are classes; MASK = V has a row of the embedding and no logit. Time is
optional: the best guess of a hidden token depends on the visible ones alone.

Published, as settings of `Denoiser`:
  MD4     mlp="sigmoid-gated", mlp_ratio=8/3, norm="layer", bias=False, time="adaln",
          time_style="md4", cond_width=64, depth_scaled=True, epsilon=1e-5; S:
          width=768, depth=12, heads=12.
  MDLM    mlp="gelu_tanh", mlp_ratio=4, norm="layer", bias=True, time="adaln",
          cond_width=128, epsilon=1e-5, dropout=0.1; width=768, depth=12, heads=12.
  LLaDA   mlp="swiglu", mlp_ratio=3, norm="rms", bias=False, time="none", theta=500_000,
          zero_head=False, epsilon=1e-5; 8B: width=4096, depth=32, heads=32.
`is_causal=True` makes the autoregressive twin of any of them.

Source: *Simplified and Generalized Masked Diffusion for Discrete Data*, 2024 (MD4);
*Simple and Effective Masked Diffusion Language Models*, 2024 (MDLM); *Large Language
Diffusion Models*, 2025 (LLaDA); *Block Diffusion*, 2025 (cached blocks); and their
public code.
Differences:
  - heads are rotated in half-split form everywhere; MD4 interleaves the pairs.
  - all read 1000 t; MDLM's code reads -log alpha.
  - norms that are modulated have no scale of their own; MDLM's have.
  - dropout is plain, on branches; MD4 drops channels of whole rows, and attention.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from mdm.masks.choices import check_choice
from mdm.nn.conditioning import TIMES, Modulation, TimeEmbed, make_norm, modulate
from mdm.nn.layers import GATES, named
from mdm.nn.modulated import ModulatedStack
from mdm.nn.rotary import KeyValue, Rotation, make_rotation

POSITIONS = ("rope", "none")


class Cache(NamedTuple):
  """Keys and values of every layer for a canvas of m tokens, and which are real."""

  pairs: KeyValue
  valid: Bool[Array, "b m"]


class Denoiser(nn.Module):
  """Tokens [b n] (and time) to float32 logits [b n v].

  Attributes:
    vocab_size: classes V; the id V is MASK.
    kv_heads, mlp_ratio, mlp, norm, qk_norm, dropout, depth_scaled, remat, scan: see
      `modulated.ModulatedStack`.
    bias: whether linear maps (the head too) and unmodulated layer norms have biases.
    positions: "rope", or "none" for a network that knows no order.
    theta: base of the rotation's wavelengths.
    time: "adaln" tells t to every block (adaLN-Zero); "none" ignores it.
    time_style: "dit" or "md4", see `conditioning.TimeEmbed`; "md4" passes the embedding
      through the activation of the MLP's gate.
    cond_width: width of the time's embedding.
    zero_head: whether logits start at zero, every token equally likely.
    ties_head: whether the head is the embedding, transposed.
    is_causal: whether a token sees only itself and those before it.
  """

  vocab_size: int
  width: int = 256
  depth: int = 4
  heads: int = 4
  kv_heads: int | None = None
  mlp_ratio: float = 4.0
  mlp: str = "gelu"
  norm: str = "layer"
  bias: bool = False
  positions: str = "rope"
  theta: float = 10_000.0
  time: str = "none"
  time_style: str = "dit"
  cond_width: int = 128
  zero_head: bool = True
  ties_head: bool = False
  qk_norm: bool = False
  is_causal: bool = False
  depth_scaled: bool = False
  dropout: float = 0.0
  epsilon: float = 1e-6
  remat: str = "none"
  scan: bool = False
  dtype: DTypeLike = jnp.float32

  @property
  def mask_id(self) -> int:
    """The id of a hidden token."""
    return self.vocab_size

  def __call__(
    self,
    tokens: Int[Array, "b n"],
    t: Float[Array, "b"] | None = None,
    *,
    valid: Bool[Array, "b n"] | None = None,
    segments: Int[Array, "b n"] | None = None,
    visible: Bool[Array, "#b 1 n n"] | None = None,
    positions: Int[Array, "#b n"] | None = None,
    outputs: int | None = None,
    train: bool = False,
  ) -> Float[Array, "b q v"]:
    """Logits of the V classes at every position, or at the first `outputs` of them.

    Args:
      t: share of hidden tokens, or the schedule's time; needed where `time` is "adaln".
      valid: False for padding, which no token ever sees.
      segments: numbers of packed documents; each sees itself alone.
      visible: True where query q (axis 2) may see key k (axis 3); with `is_causal` both
        must allow it.
      positions: of the tokens; None for 0, 1, 2, ...
      outputs: how many positions get logits; None for all.

    Raises:
      ValueError: no time where one is needed, or settings that contradict each other.
    """
    n = tokens.shape[1]
    if self.is_causal:
      causal = jnp.tril(jnp.ones((1, 1, n, n), bool))
      visible = causal if visible is None else visible & causal
    if segments is not None:
      same = segments[:, None, :, None] == segments[:, None, None, :]  # b 1 n n
      visible = same if visible is None else visible & same
    if valid is not None:
      real = valid[:, None, None, :]  # b 1 1 n
      visible = real if visible is None else visible & real
    if positions is None:
      positions = jnp.arange(n)[None]
    return self._run(tokens, t, visible, positions, outputs=outputs, train=train)[0]

  def init_cache(self, batch: int, length: int) -> Cache:
    """An empty cache for canvases of `length` tokens; needs no parameters."""
    g = self.kv_heads or self.heads
    shape = (self.depth, batch, length, g, self.width // self.heads)  # l b m g k
    empty = jnp.zeros(shape, self.dtype)
    return Cache(KeyValue(empty, empty), jnp.zeros((batch, length), bool))

  def extend(
    self,
    tokens: Int[Array, "b n"],
    cache: Cache,
    *,
    t: Float[Array, "b"] | None = None,
    start: int | Int[Array, ""],
    valid: Bool[Array, "b n"] | None = None,
  ) -> tuple[Float[Array, "b n v"], Cache]:
    """Logits of a block at positions start, start + 1, ..., which sees all before it.

    The block sees itself whole (or, with `is_causal`, up to each token). Returns the
    cache with the block's keys and values too: keep that once the block is final, and
    the old one while it is still being denoised.

    Raises:
      ValueError: the block does not fit in the cache.
    """
    n, m = tokens.shape[1], cache.valid.shape[1]
    if n > m or (isinstance(start, int) and not 0 <= start <= m - n):
      raise ValueError(
        f"a block of {n} tokens from position {start} does not fit in a cache of {m}; "
        "give init_cache the length of the whole canvas."
      )
    here = start + jnp.arange(n)  # n
    last = here[:, None] if self.is_causal else start + n - 1
    real = jnp.ones(tokens.shape, bool) if valid is None else valid
    known = jax.lax.dynamic_update_slice_in_dim(cache.valid, real, start, axis=1)
    visible = (jnp.arange(m) <= last) & known[:, None, None, :]  # b 1 #n m
    logits, pairs = self._run(tokens, t, visible, here[None], cache.pairs, start)
    assert pairs is not None
    return logits, Cache(pairs, known)

  @nn.compact
  def _run(
    self,
    tokens: Int[Array, "b n"],
    t: Float[Array, "b"] | None,
    visible: Bool[Array, "#b 1 #n m"] | None,
    positions: Int[Array, "#b n"],
    past: KeyValue | None = None,
    start: int | Int[Array, ""] = 0,
    *,
    outputs: int | None = None,
    train: bool = False,
  ) -> tuple[Float[Array, "b q v"], KeyValue | None]:
    """What `__call__` and `extend` share."""
    self._check(t)
    init = named(nn.initializers.normal(self.width**-0.5), "vocab", "embed")
    table = self.param("embedding", init, (self.vocab_size + 1, self.width))
    x = jnp.take(table, tokens, axis=0).astype(self.dtype)  # b n d
    cond = None
    if self.time == "adaln" and t is not None:
      is_md4 = self.time_style == "md4"
      last = GATES.get(self.mlp, "silu") if is_md4 else "silu"
      cond = TimeEmbed(self.cond_width, self.time_style, last, name="time_embed")(t)
    x, pairs = self._stack()(
      x, cond, self._rotation(positions), visible, past, start, train=train
    )
    return self._head(x[:, :outputs], cond, table), pairs

  def _stack(self) -> ModulatedStack:
    return ModulatedStack(
      depth=self.depth,
      heads=self.heads,
      kv_heads=self.kv_heads,
      mlp_ratio=self.mlp_ratio,
      mlp=self.mlp,
      norm=self.norm,
      use_bias=self.bias,
      qk_norm=self.qk_norm,
      dropout=self.dropout,
      epsilon=self.epsilon,
      depth_scaled=self.depth_scaled,
      remat=self.remat,
      scan=self.scan,
      dtype=self.dtype,
      name="stack",
    )

  def _rotation(self, positions: Int[Array, "#b n"]) -> Rotation | None:
    if self.positions == "none":
      return None
    return make_rotation(positions, self.width // self.heads, self.theta)

  def _head(
    self,
    x: Float[Array, "b n d"],
    cond: Float[Array, "b e"] | None,
    table: Float[Array, "rows d"],
  ) -> Float[Array, "b n v"]:
    """Last norm and linear map; products in `dtype`, summed in float32."""
    norm = make_norm(
      self.norm,
      epsilon=self.epsilon,
      is_modulated=cond is not None,
      use_bias=self.bias,
      name="norm",
    )
    x = norm(x)
    if cond is not None:
      x = modulate(x, *Modulation(2, self.width, self.dtype, name="modulation")(cond))
    if self.ties_head:
      kernel = table[: self.vocab_size].T  # d v
    else:
      init = nn.initializers.zeros if self.zero_head else nn.initializers.lecun_normal()
      shape = (self.width, self.vocab_size)
      kernel = self.param("head", named(init, "embed", "vocab"), shape)  # d v
    logits = jnp.einsum(
      "bnd,dv->bnv",
      x.astype(self.dtype),
      kernel.astype(self.dtype),
      preferred_element_type=jnp.float32,
    )
    if not self.bias:
      return logits
    zeros = named(nn.initializers.zeros, "vocab")
    return logits + self.param("head_bias", zeros, (self.vocab_size,))

  def _check(self, t: Float[Array, "b"] | None) -> None:
    check_choice("time", self.time, TIMES)
    check_choice("positions", self.positions, POSITIONS)
    if self.time == "adaln" and t is None:
      raise ValueError("time = 'adaln' needs a t for each row; give t, or time='none'.")
    if self.ties_head and self.zero_head:
      raise ValueError(
        "ties_head = True starts the head at the embedding, not at zero; write "
        "zero_head=False."
      )
