"""Long short-term memory, over whole sequences and a step at a time.

  i, f, o = sigmoid(W x + R h + b),  g = tanh(W x + R h + b)
  c <- f c + i g,  h = o tanh(c)

A transducer's prediction network reads what was said so far with it. Its state depends
on the tokens alone, not on frames, so that decoders keep one for each prefix.

Source: *Long Short-Term Memory*, Hochreiter and Schmidhuber, 1997; the forget gate of
*Learning to Forget*, Gers et al., 2000, whose bias starts at 1.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from mdm.nn.layers import named

State = tuple[Float[Array, "b d"], Float[Array, "b d"]]  # h and c


class Lstm(nn.Module):
  """One layer.

  Attributes:
    width: of the state.
  """

  width: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b n e"], state: State
  ) -> tuple[Float[Array, "b n d"], State]:
    """States after each input, and the last one to go on from."""
    shape = (x.shape[-1], 4 * self.width)
    start = named(nn.initializers.xavier_normal(), "embed", "mlp")
    kernel = self.param("kernel", start, shape).astype(self.dtype)
    start = named(nn.initializers.orthogonal(), "embed", "mlp")
    back = self.param("recurrent", start, (self.width, shape[1])).astype(self.dtype)
    bias = self.param("bias", named(_forget_bias, "mlp"), shape[1:])
    inputs = (x.astype(self.dtype) @ kernel).astype(jnp.float32) + bias  # b n 4d

    def advance(
      state: State, now: Float[Array, "b gates"]
    ) -> tuple[State, Float[Array, "b d"]]:
      """One step."""
      h, c = state
      gates = now + (h.astype(self.dtype) @ back).astype(jnp.float32)
      i, f, g, o = jnp.split(gates, 4, axis=-1)
      c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
      h = jax.nn.sigmoid(o) * jnp.tanh(c)
      return (h, c), h

    state, outputs = jax.lax.scan(advance, state, inputs.swapaxes(0, 1))
    return outputs.swapaxes(0, 1), state


class Prediction(nn.Module):
  """A transducer's memory of what was said: an embedding and layers of `Lstm`.

  Attributes:
    vocab_size: tokens; blank, one id more, serves as the symbol of the start.
    width: of the states; published 640.
    embed: width of the embedding; 0 for `width`.
    depth: layers; published 2.
    dropout: of the embedding and of each layer's outputs.
  """

  vocab_size: int
  width: int = 640
  embed: int = 0
  depth: int = 2
  dropout: float = 0.0
  dtype: DTypeLike = jnp.float32

  def setup(self) -> None:
    """The parts, which whole transcripts and single steps share."""
    table = named(nn.initializers.normal(1.0), "vocab", "embed")
    shape = (self.vocab_size + 1, self.embed or self.width)
    self.table = self.param("embedding", table, shape)
    self.layers = [Lstm(self.width, dtype=self.dtype) for _ in range(self.depth)]
    self.drop = nn.Dropout(self.dropout)

  def __call__(
    self, tokens: Int[Array, "b n"], *, train: bool
  ) -> Float[Array, "b u d"]:
    """Outputs after 0 .. n tokens; u = n + 1."""
    said = jnp.pad(tokens, ((0, 0), (1, 0)), constant_values=self.vocab_size)
    return self._run(said, self.start(len(tokens)), train=train)[0]

  @nn.nowrap
  def start(self, rows: int) -> list[State]:
    """The state before anything was said, not even the symbol of the start."""
    zeros = jnp.zeros((rows, self.width), jnp.float32)
    return [(zeros, zeros) for _ in range(self.depth)]

  def step(
    self, token: Int[Array, "b"], state: list[State]
  ) -> tuple[Float[Array, "b d"], list[State]]:
    """The output and state after one more token; the first token is blank."""
    outputs, state = self._run(token[:, None], state, train=False)
    return outputs[:, 0], state

  def _run(
    self, tokens: Int[Array, "b n"], state: list[State], *, train: bool
  ) -> tuple[Float[Array, "b n d"], list[State]]:
    """All layers over some tokens."""
    x = self.drop(jnp.take(self.table, tokens, axis=0), deterministic=not train)
    after = []
    for layer, given in zip(self.layers, state, strict=True):
      x, last = layer(x, given)
      x = self.drop(x, deterministic=not train)
      after.append(last)
    return x, after


def _forget_bias(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """0, and 1 for the forget gate."""
  del key
  width = shape[0] // 4
  return jnp.zeros(shape).at[width : 2 * width].set(1.0)
