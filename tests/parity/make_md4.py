"""Writes md4.npz: what the original's models give for small random weights.

  python tests/parity/make_md4.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github google-deepmind/md4 at commit b9fbf29; the interpreter
needs jax and flax (tried: 0.10.2 and 0.12.8). What its modules import and its losses
do not use is stubbed. Nothing of it is needed to run the tests, which read the numbers.
The keys are listed in README.md beside this file.
"""

import pathlib
import sys
import types
from unittest import mock

import flax
import jax
import jax.numpy as jnp
import numpy as np

V, N, ROWS, OFFSET, POWER = 7, 12, 4, 0.37, 1.3
NETWORK = dict(
  feature_dim=8, num_heads=2, n_layers=2, mlp_type="glu", cond_type="adaln_zero",
  depth_scaled_init=True, classes=-1, vocab_size=V,
)  # fmt: skip
UNUSED = (
  "clu", "distrax", "matplotlib", "matplotlib.pyplot", "seaborn", "orbax",
  "tensorflow_probability", "tensorflow_probability.substrates",
  "tensorflow_probability.substrates.jax",
)  # fmt: skip
MD4 = {
  "linear": dict(cont_time=True, noise_schedule_type="linear"),
  "cosine": dict(cont_time=True, noise_schedule_type="cosine"),
  "poly3": dict(cont_time=True, noise_schedule_type="poly3"),
  "linear_10_steps": dict(timesteps=10, noise_schedule_type="linear"),
  "cosine_10_steps": dict(timesteps=10, noise_schedule_type="cosine"),
  "no_time": dict(cont_time=True, time_features="none"),
}


def main(checkout: str, output: str) -> None:
  models = load(checkout)
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, V, (ROWS, N))
  masks = rng.random((2, ROWS, N)) < 0.6
  numbers = {"input/tokens": tokens, "input/masks": masks}
  numbers["input/t"] = (OFFSET + np.arange(ROWS) / ROWS) % 1.0
  zts = [jnp.asarray(np.where(mask, V, tokens)) for mask in masks]
  drawn: dict[str, dict] = {}
  for name, settings in MD4.items():
    model = models.md4.MD4(data_shape=(N,), **NETWORK, **settings)
    weights = drawn.setdefault(settings.get("time_features", "t"), {})
    numbers |= measure(f"md4/{name}", model, tokens, zts[:1], rng, weights)
  model = models.genmd4.GenMD4(data_shape=(N,), cont_time=True, **NETWORK)
  numbers |= measure("genmd4", model, tokens, zts, rng, drawn["t"])
  for time, weights in drawn.items():
    numbers |= {f"weights/{time}/{k}": v for k, v in weights.items()}
  np.savez_compressed(output, **{k: shrink(v) for k, v in numbers.items()})
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def load(checkout: str) -> types.SimpleNamespace:
  """The original's two models, imported beside stubs of what they do not use."""
  for name in UNUSED:
    sys.modules[name] = mock.MagicMock(__path__=[])
  sys.modules["distrax"].Distribution = object
  sys.path.insert(0, checkout)
  from md4.models.diffusion import genmd4, md4

  return types.SimpleNamespace(md4=md4, genmd4=genmd4)


def measure(where, model, tokens, zts, rng, weights) -> dict[str, np.ndarray]:
  """Logits, losses and gradients of a model that hides as `zts` says, from given times.

  `weights` gets what is not in it yet, at random; models of one kind share theirs.
  """
  shown = []

  def forward_sample(self, x, t):
    return zts[len(shown) % len(zts)]

  def predict_x(self, zt, t, cond=None, train=False):
    logits, extra = plain(self, zt, t, cond=cond, train=train)
    shown.append(logits)
    return logits, extra

  kind, plain = type(model), type(model).predict_x
  offset = jnp.asarray(OFFSET)
  with (
    mock.patch.object(kind, "forward_sample", forward_sample),
    mock.patch.object(kind, "predict_x", predict_x),
    mock.patch("jax.random.uniform", return_value=offset),
  ):
    keys = {"sample": jax.random.key(1)}
    shapes = jax.eval_shape(
      lambda: model.init({"params": jax.random.key(0), **keys}, jnp.asarray(tokens))
    )
    params = fill(shapes["params"], rng, weights)

    def losses(params):
      shown.clear()
      stats = model.apply({"params": params}, jnp.asarray(tokens), rngs=keys)
      return stats["loss"], stats

    shown.clear()
    _, stats = losses(params)
    logits = jnp.stack(shown)
    grads = flatten(jax.grad(losses, has_aux=True)(params)[0])
  kept = [k for k in grads if "Embed_0" in k or "schedule" in k]
  return {
    f"{where}/logits": logits,
    **{f"{where}/{k}": v for k, v in stats.items() if "loss" in k},
    **{f"{where}/grad/{k}": grads[k] for k in kept},
  }


def fill(shapes, rng, weights):
  """Draws every weight that is not in `weights`, so that no part is an identity."""
  flat = flatten(shapes)
  for name, leaf in sorted(flat.items()):
    if name in weights:
      continue
    noise = rng.normal(size=leaf.shape).astype(np.float32)
    if name.endswith("scale"):
      value = 1.0 + 0.2 * noise
    elif name.endswith("schedule/w"):
      value = np.log(np.expm1(POWER)) + 0.5 * noise
    elif leaf.ndim > 1 and "Embed_0" not in name:
      value = noise * leaf.shape[0] ** -0.5
    else:
      value = noise
    weights[name] = value.astype(np.float32)
  nested = {tuple(name.split("/")): weights[name] for name in flat}
  return flax.traverse_util.unflatten_dict(nested)


def flatten(tree) -> dict:
  return flax.traverse_util.flatten_dict(dict(tree), sep="/")


def shrink(value) -> np.ndarray:
  """Numbers as float32, ids as int32, masks as they are."""
  value = np.asarray(value)
  if value.dtype.kind == "f":
    return value.astype(np.float32)
  return value.astype(np.int32) if value.dtype.kind == "i" else value


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(*([*sys.argv[1:], str(here / "md4.npz")][:2]))
