"""Codebooks: exact choices, the gradients that reach them, and how they are used."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.quantizer import (
  GumbelQuantizer,
  RandomProjection,
  code_perplexity,
  code_share,
  diversity_loss,
  gumbel_temperature,
  straight_through,
)

GROUPS, ENTRIES, WIDTH = 2, 5, 6
Z = jax.random.normal(jax.random.key(0), (2, 4, 3))
MODEL = GumbelQuantizer(GROUPS, ENTRIES, WIDTH)


@pytest.fixture(scope="module")
def variables(variables_of):
  return variables_of(MODEL, Z, train=False)


@functools.cache
def compiled(train):
  def run(variables, z, temperature, key):
    return MODEL.apply(variables, z, temperature, train=train, rngs={"gumbel": key})

  return jax.jit(run)


def run(variables, z=Z, *, temperature=2.0, train=True, seed=0):
  return compiled(train)(variables, z, temperature, jax.random.key(seed))


def rows_of(params, ids):
  """The entries of each group side by side."""
  entries = np.asarray(params["entries"])
  parts = [entries[g][np.asarray(ids)[..., g]] for g in range(GROUPS)]
  return np.concatenate(parts, axis=-1)


def logits_of(params, z):
  return jnp.tensordot(z, params["logits"]["kernel"], 1) + params["logits"]["bias"]


@pytest.mark.parametrize("train", [True, False])
def test_vectors_are_the_entries_that_the_ids_name(variables, train):
  found = run(variables, train=train)
  assert found.vectors.shape == (2, 4, WIDTH) and found.ids.shape == (2, 4, GROUPS)
  expected = rows_of(variables["params"], found.ids)
  assert (np.asarray(found.vectors) == expected).all()


def test_without_training_the_likeliest_entry_is_chosen(variables):
  found = run(variables, train=False)
  logits = logits_of(variables["params"], Z)
  assert (found.ids == logits.argmax(-1)).all()
  np.testing.assert_allclose(found.soft, jax.nn.softmax(logits), atol=1e-5)


def test_in_training_entries_are_drawn_by_their_probability(variables):
  z = jnp.broadcast_to(Z[:1, :1], (1, 20_000, 3))
  found = run(variables, z)
  share = code_share(found.ids, jnp.ones((1, 20_000)), ENTRIES)
  # 4 standard errors of a share of 1/2
  np.testing.assert_allclose(share, found.soft[0, 0], atol=0.0142)


def test_soft_probabilities_have_neither_noise_nor_temperature(variables):
  hot, cold = (run(variables, temperature=float(t), seed=t) for t in (1, 2))
  np.testing.assert_array_equal(hot.soft, cold.soft)


def test_ids_of_the_likeliest_entries_can_be_asked_for(variables):
  model = GumbelQuantizer(GROUPS, ENTRIES, WIDTH, ids="argmax")
  found = jax.jit(
    lambda: model.apply(variables, Z, train=True, rngs={"gumbel": jax.random.key(3)})
  )()
  drawn = run(variables, temperature=1.0, seed=3)
  assert (found.ids == run(variables, train=False).ids).all()
  np.testing.assert_array_equal(found.vectors, drawn.vectors)
  assert (found.ids != drawn.ids).any()


def test_the_gradient_is_that_of_the_soft_choice():
  logits, to = jax.random.normal(jax.random.key(1), (2, 7, 5))

  def hard_loss(x, temperature):
    soft = jax.nn.softmax(x / temperature)
    hard = straight_through(soft, x.argmax(-1))
    return (hard * to).sum(), hard

  def soft_loss(x, temperature):
    return (jax.nn.softmax(x / temperature) * to).sum()

  for temperature in (2.0, 1e-3):
    ours, hard = jax.grad(hard_loss, has_aux=True)(logits, temperature)
    assert (hard == jax.nn.one_hot(logits.argmax(-1), 5)).all()
    np.testing.assert_allclose(ours, jax.grad(soft_loss)(logits, temperature))


def test_codebook_and_map_and_frames_learn_in_training(variables):
  def loss(params, z):
    return jnp.square(run({"params": params}, z).vectors - 1.0).sum()

  to_params, to_z = jax.grad(loss, (0, 1))(variables["params"], Z)
  assert all((jnp.abs(leaf) > 0).any() for leaf in jax.tree.leaves(to_params))
  assert (to_z != 0).any(-1).all()


def test_a_quantiser_starts_as_published():
  model = GumbelQuantizer(1, 300, 400)
  z = jnp.zeros((1, 1, 200))
  params = jax.jit(lambda: model.init(jax.random.key(0), z, train=False))()["params"]
  kernel, entries = params["logits"]["kernel"].value, params["entries"].value
  assert float(kernel.std()) == pytest.approx(1.0, rel=0.02)
  assert float(entries.mean()) == pytest.approx(0.5, rel=0.02)
  assert entries.min() >= 0 and entries.max() < 1
  assert (params["logits"]["bias"].value == 0).all()


def test_temperatures_fall_to_their_floor():
  steps = jnp.array([0, 100_000, 10_000_000])
  found = jax.vmap(gumbel_temperature)(steps)
  np.testing.assert_allclose(found, [2.0, 2 * 0.999995**100_000, 0.1], rtol=1e-3)


@pytest.mark.parametrize(("groups", "entries"), [(1, 1024), (2, 320)])
def test_diversity_is_0_for_even_use_and_1_less_1_over_v_for_one_entry(groups, entries):
  weight = jnp.ones((2, 3))
  even = jnp.full((2, 3, groups, entries), 1 / entries)
  single = jnp.zeros_like(even).at[..., 7].set(1.0)
  assert float(diversity_loss(even, weight)) == pytest.approx(0.0, abs=1e-5)
  assert float(diversity_loss(single, weight)) == pytest.approx(1 - 1 / entries)
  assert float(diversity_loss(single, 0 * weight)) == 0.0


def test_diversity_is_of_the_mean_over_weighted_frames_of_the_whole_batch():
  soft = jnp.zeros((2, 3, 1, 4)).at[0, :, :, 1].set(1.0).at[1, :, :, 2].set(1.0)
  weight = jnp.ones((2, 3))
  # each row uses one entry, together they use two of four
  assert float(diversity_loss(soft, weight)) == pytest.approx(0.5)
  alone = weight.at[1].set(0.0)
  assert float(diversity_loss(soft, alone)) == pytest.approx(0.75)
  gradient = jax.grad(diversity_loss)(soft, alone)
  assert jnp.isfinite(gradient).all() and (gradient[1] == 0).all()


def test_perplexity_counts_the_entries_in_use():
  ids = jnp.array([[[0, 3], [1, 3], [2, 3], [3, 3]], [[0, 0], [0, 0], [0, 0], [0, 0]]])
  weight = jnp.array([[1.0] * 4, [0.0] * 4])
  np.testing.assert_allclose(code_perplexity(ids, weight, 6), [4.0, 1.0], rtol=1e-5)
  share = code_share(ids, weight, 6)
  assert share[0].tolist() == [0.25] * 4 + [0.0] * 2


@pytest.mark.parametrize(
  ("settings", "answer"),
  [
    ({"groups": 4}, "groups = 4 do not divide width = 6"),
    ({"ids": "soft"}, "ids = 'soft' is unknown"),
  ],
)
def test_settings_that_are_none_are_refused(settings, answer):
  model = GumbelQuantizer(**{"groups": 2, "entries": 5, "width": 6} | settings)
  with pytest.raises(ValueError, match=answer):
    model.init(jax.random.key(0), Z, train=False)


PROJECTION = RandomProjection(entries=50, width=4, groups=2)
X = jax.random.normal(jax.random.key(2), (2, 9, 8))


@pytest.fixture(scope="module")
def fixed():
  return jax.jit(lambda: PROJECTION.init(jax.random.key(0), X))()


def test_projected_frames_are_named_by_the_nearest_entry_in_angle(fixed):
  assert fixed.keys() == {"fixed"}  # nothing is learned
  ids = np.asarray(PROJECTION.apply(fixed, X))
  for g in range(2):
    y = np.array(X @ fixed["fixed"]["projection"][g])
    y /= np.linalg.norm(y, axis=-1, keepdims=True)
    codes = np.array(fixed["fixed"]["entries"][g])
    codes /= np.linalg.norm(codes, axis=-1, keepdims=True)
    distance = np.linalg.norm(y[..., None, :] - codes, axis=-1)
    assert (ids[..., g] == distance.argmin(-1)).all()


def test_projected_ids_ignore_scale_and_pass_no_gradient(fixed):
  ids = PROJECTION.apply(fixed, X)
  assert (PROJECTION.apply(fixed, 3.5 * X) == ids).all()
  assert len(np.unique(ids)) > 8
  still, after = PROJECTION.apply(fixed, X, mutable=["fixed"])
  assert (still == ids).all()
  assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), after, fixed))


def test_projections_are_drawn_anew_from_each_seed(fixed):
  other = PROJECTION.init(jax.random.key(1), X)
  for name, leaf in fixed["fixed"].items():
    assert (other["fixed"][name] != leaf).all()
  limit = np.sqrt(6 / (8 + 4))  # Xavier's, of each group's matrix
  assert np.abs(fixed["fixed"]["projection"]).max() < limit
  assert np.abs(fixed["fixed"]["projection"]).max() > 0.8 * limit
