"""Two networks of frames, one after the other, with what lies between them."""

import flax.linen as nn
from jaxtyping import Array, Bool, Float


class Tandem(nn.Module):
  """`second` on top of `first`, as one encoder: [b n d] -> [b n e].

  Parameters: those of `first` and `second`, which are called as
  `nn.conformer.Conformer` is.
  """

  first: nn.Module
  second: nn.Module

  def __call__(
    self, x: Float[Array, "b n d"], valid: Bool[Array, "b n"], *, train: bool
  ) -> Float[Array, "b n e"]:
    """What comes out of the second."""
    return self.both(x, valid, train=train)[1]

  def both(
    self, x: Float[Array, "b n d"], valid: Bool[Array, "b n"], *, train: bool
  ) -> tuple[Float[Array, "b n c"], Float[Array, "b n e"]]:
    """What comes out of each."""
    between = self.first(x, valid, train=train)
    return between, self.second(between, valid, train=train)
