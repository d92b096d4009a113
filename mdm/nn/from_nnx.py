"""A flax.nnx model as a network of any method here: its losses, samplers and training.

A method takes its network as a Linen module. `NnxNetwork` is one around a class of
`flax.nnx`, so that `MD4(network=NnxNetwork(...))` has the paper's loss and every
sampler of `decoding/`, in this package's loop or in one of your own:

```python
import jax, jax.numpy as jnp, optax
from flax import nnx
from mdm.methods.diffusion.md4 import MD4
from mdm.nn.from_nnx import NnxNetwork, model_params, update_model

class Net(nnx.Module):
  def __init__(self, vocab, length, width, *, rngs):
    self.embed = nnx.Embed(vocab + 1, width, rngs=rngs)  # the last id is MASK
    self.place = nnx.Embed(length, width, rngs=rngs)
    self.head = nnx.Linear(width, vocab, rngs=rngs)

  def __call__(self, tokens, t, *, valid=None, train=False):
    x = self.embed(tokens) + self.place(jnp.arange(tokens.shape[1]))
    return self.head(nnx.gelu(x + x.mean(1, keepdims=True)))

sizes = (4, 8, 16)
net = Net(*sizes, rngs=nnx.Rngs(0))
method = MD4(network=NnxNetwork(Net, sizes, vocab_size=4), masking="count")
tokens = jnp.tile(jnp.arange(4), (8, 2))  # b n: 0 1 2 3 0 1 2 3
batch = {"tokens": tokens, "index": jnp.arange(8)}

def loss_of(net, key):
  names = ("mask", "time", "dropout")
  rngs = dict(zip(names, jax.random.split(key, 3)))
  variables = {"params": model_params(net)}
  return method.apply(variables, batch, train=True, rngs=rngs)["loss"].value()

optimizer = nnx.Optimizer(net, optax.adam(3e-2), wrt=nnx.Param)

@nnx.jit
def step(net, optimizer, key):
  loss, grads = nnx.value_and_grad(loss_of)(net, key)
  optimizer.update(net, grads)
  return loss

losses = [step(net, optimizer, key) for key in jax.random.split(jax.random.key(0), 60)]

canvas = jnp.full((2, 8), method.mask_id)
keys = jax.random.split(jax.random.key(1), 2)
variables = {"params": model_params(net)}
drawn = method.apply(variables, keys, canvas, method="sample").tokens  # 2 8
```

The same network in this package's loop: `method.init` makes its parameters, and
`update_model(net, variables["params"])` takes them home.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
from flax import nnx
from jaxtyping import Array, Float, Int

NETWORK, MODEL = "network", "model"  # where a method keeps the model's parameters


class NnxNetwork(nn.Module):
  """A network of token rows whose layers are a flax.nnx model's.

  Attributes:
    model_class: a class of `flax.nnx`, made with `arguments` and `rngs=`, and called
      with (tokens [b n], t [b], valid=..., train=...) to logits [b n v].
    arguments: of its constructor, hashable.
    vocab_size: V, of the logits; id V is MASK.
  """

  model_class: type[nnx.Module]
  arguments: tuple[Any, ...] = ()
  vocab_size: int = 0

  @nn.compact
  def __call__(
    self,
    tokens: Int[Array, "b n"],
    t: Float[Array, "b"] | None = None,
    *,
    valid: Any = None,
    train: bool = False,
  ) -> Float[Array, "b n v"]:
    """Logits of every position.

    Raises:
      ValueError: the model gives logits of another number of tokens.
    """
    model = nnx.bridge.to_linen(self.model_class, *self.arguments, name=MODEL)
    logits = model(tokens, t, valid=valid, train=train)
    if logits.shape != (*tokens.shape, self.vocab_size):
      raise ValueError(
        f"{self.model_class.__name__} gives {list(logits.shape)} for tokens "
        f"{list(tokens.shape)}; it must give logits of vocab_size = {self.vocab_size} "
        "tokens at each position."
      )
    return logits


def model_params(model: nnx.Module) -> dict[str, Any]:
  """An nnx model's parameters as a method around `NnxNetwork` takes them.

  Gradients go through: they are the model's own arrays.
  """
  pure = nnx.to_pure_dict(nnx.state(model, nnx.Param))
  return {NETWORK: {MODEL: pure}}


def update_model(model: nnx.Module, params: Mapping[str, Any]) -> None:
  """Gives an nnx model the parameters that a method learned, in place.

  Args:
    model: of the class and arguments of the method's `NnxNetwork`.
    params: the method's, with or without the boxes of their axis names.

  Raises:
    ValueError: they are of another model.
  """
  state = nnx.state(model, nnx.Param)
  wanted = nnx.to_pure_dict(state)
  given = nn.meta.unbox(dict(params)[NETWORK][MODEL])
  shapes = [jax.tree.map(lambda leaf: leaf.shape, tree) for tree in (wanted, given)]
  if shapes[0] != shapes[1]:
    raise ValueError(
      f"the parameters are of another model than {type(model).__name__} as it is here; "
      "make it with the arguments of the network."
    )
  nnx.replace_by_pure_dict(state, given)
  nnx.update(model, state)
