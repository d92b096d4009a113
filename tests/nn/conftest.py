"""Variables drawn on the host, so that no test waits for an initialiser to compile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta


def draw_variables(model, *args, **kwargs):
  """Random values for every variable of a module, without its partitioning boxes."""
  created = jax.eval_shape(lambda: model.init(jax.random.key(0), *args, **kwargs))
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    name, noise = path[-1].key, rng.normal(size=leaf.shape).astype(np.float32)
    if name in ("scale", "var"):
      return jnp.asarray(1.0 + 0.2 * np.abs(noise))
    return jnp.asarray(noise * (0.3 if noise.ndim > 1 else 0.1))

  return jax.tree_util.tree_map_with_path(draw, meta.unbox(created))


@pytest.fixture(scope="session")
def variables_of():
  return draw_variables
