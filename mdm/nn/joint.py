"""The transducer's joint network: what every frame says after every number of tokens.

  p(. | t, u) = softmax(W' act(A encoded_t + B predicted_u) + c)

In training a path needs two log-probabilities of each cell (t, u), that of blank and
that of the transcript's next token. They are made without ever holding the scores of
all classes of all cells, b f u v numbers: frames go by in groups, whose scores the
backward pass computes again. Only the normaliser sums over classes, so that they may
lie on several devices; the next token's score is a product with its own column.

Source: *Sequence Transduction with Recurrent Neural Networks*, Graves, 2012, section
2.3; *Speech Recognition with Deep Recurrent Neural Networks*, Graves, Mohamed and
Hinton, 2013, section 3.2, for the hidden layer.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from mdm.nn.layers import Linear, activation, named


class Joint(nn.Module):
  """Adds what was heard and what was said, and scores all classes.

  Attributes:
    vocab_size: tokens; blank is one class more, the last.
    width: of the hidden layer; published 640.
    act: its activation.
    chunk: frames whose scores are held at once; 0 for all.
  """

  vocab_size: int
  width: int = 640
  act: str = "tanh"
  chunk: int = 0
  dtype: DTypeLike = jnp.float32

  def setup(self) -> None:
    """The two maps into the hidden layer, and the layer over classes."""
    axes = ("embed", "mlp")
    self.hear = Linear((self.width,), axes, dtype=self.dtype)
    self.say = Linear((self.width,), axes, use_bias=False, dtype=self.dtype)
    start = named(nn.initializers.xavier_normal(), "mlp", "vocab")
    classes = self.vocab_size + 1
    self.kernel = self.param("kernel", start, (self.width, classes))
    zeros = named(nn.initializers.zeros, "vocab")
    self.bias = self.param("bias", zeros, (classes,))

  def __call__(
    self,
    encoded: Float[Array, "b f d"],
    predicted: Float[Array, "b u e"],
    tokens: Int[Array, "b n"],
  ) -> tuple[Float[Array, "b f u"], Float[Array, "b f n"]]:
    """Log-probabilities of blank and of the next token; u = n + 1."""
    return joint_log_probs(
      self.hear(encoded),
      self.say(predicted),
      self.kernel.astype(self.dtype),
      self.bias,
      tokens,
      blank=self.vocab_size,
      act=self.act,
      chunk=self.chunk,
    )

  def score(
    self, encoded: Float[Array, "*dims d"], predicted: Float[Array, "*dims e"]
  ) -> Float[Array, "*dims v"]:
    """Log-probabilities of all classes, of single cells: what decoding asks."""
    x = activation(self.act)(self.hear(encoded) + self.say(predicted))
    scores = (x @ self.kernel.astype(self.dtype)).astype(jnp.float32)
    return jax.nn.log_softmax(scores + self.bias)


def joint_log_probs(
  encoded: Float[Array, "b f d"],
  predicted: Float[Array, "b u d"],
  kernel: Float[Array, "d v"],
  bias: Float[Array, "v"],
  tokens: Int[Array, "b n"],
  *,
  blank: int = 0,
  act: str = "tanh",
  chunk: int = 0,
) -> tuple[Float[Array, "b f u"], Float[Array, "b f n"]]:
  """Log-probabilities of blank and of the next token in every cell.

  p(. | t, u) = softmax(kernel' act(encoded_t + predicted_u) + bias)

  Args:
    encoded, predicted: of each frame, and after 0 .. n tokens; u = n + 1.
    kernel, bias: the last layer, over all classes.
    tokens: the transcripts, any class in padding.
    act: one of `nn.layers.ACTIVATIONS`.
    chunk: frames whose scores of all classes are held at once, in the backward pass
      too; 0 for all.
  """
  b, f, d = encoded.shape
  columns = jnp.take(kernel, tokens, axis=1).transpose(1, 2, 0)  # b n d
  offsets = jnp.take(bias, tokens)[:, None]  # b 1 n

  @jax.checkpoint
  def cells(part: Float[Array, "b c d"]) -> tuple[jax.Array, jax.Array]:
    """Some frames."""
    x = activation(act)(part[:, :, None] + predicted[:, None])  # b c u d
    scores = jnp.matmul(x, kernel, preferred_element_type=jnp.float32)  # b c u v
    total = jax.nn.logsumexp(scores + bias, axis=-1)  # b c u
    empty = jnp.matmul(x, kernel[:, blank], preferred_element_type=jnp.float32)
    following = jnp.einsum(
      "bcnd,bnd->bcn", x[:, :, :-1], columns, preferred_element_type=jnp.float32
    )
    return empty + bias[blank] - total, following + offsets - total[:, :, :-1]

  if not chunk or chunk >= f:
    return cells(encoded)
  groups = -(-f // chunk)
  padded = jnp.pad(encoded, ((0, 0), (0, groups * chunk - f), (0, 0)))
  parts = padded.reshape(b, groups, chunk, d).swapaxes(0, 1)  # groups b c d
  found = jax.lax.map(cells, parts)
  joined = [part.swapaxes(0, 1).reshape(b, groups * chunk, -1)[:, :f] for part in found]
  return joined[0], joined[1]
