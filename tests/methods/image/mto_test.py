"""MTO: what its terms are, what they move, and that without them a host is itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from mdm.masks.scores import split_by_score
from mdm.methods.image.mae import Mae
from mdm.methods.image.mto import Mto, MtoSimMim, excluded, heterogeneity
from mdm.methods.image.simmim import SimMim
from mdm.nn.attention import NOTES
from mdm.nn.patch_decoders import LinearDecoder, MaskedDecoder
from mdm.nn.positions import grid_sincos
from mdm.nn.vit import Vit
from mdm.training import build

ROWS, N = 4, 16
OFF = {"exclusion": 0.0, "singularity": 0.0, "scale": 0.0}
HOSTS = {Mto: Mae, MtoSimMim: SimMim}


def make(cls, **settings):
  is_mae = not issubclass(cls, SimMim)
  decoder = MaskedDecoder(width=16, depth=2, heads=2) if is_mae else LinearDecoder()
  encoder = Vit(patch=4, width=16, depth=1 if is_mae else 2, heads=2)
  plain = {"crop_area": (), "flip": False, "mean": (0.5,), "deviation": (0.25,)}
  return cls(encoder=encoder, decoder=decoder, **plain, **settings)


def batch(**told):
  rng = np.random.default_rng(0)
  return {
    "image": rng.integers(0, 256, (ROWS, 16, 16, 1)).astype(np.uint8),
    "index": np.arange(ROWS, dtype=np.int32) + 10,
    "weight": np.ones(ROWS, np.float32),
  } | told


def streams():
  names = ("mask", "augment", "dropout")
  return dict(zip(names, jax.random.split(jax.random.key(0), 3), strict=True))


@functools.cache
def params(cls):
  keys = {"params": jax.random.key(1), **streams()}
  start = jax.jit(lambda k: make(cls).init(k, batch(), train=True))
  return meta.unbox(start(keys))["params"]


@functools.cache
def trained(cls, **settings):
  """Losses and gradients of a training batch."""

  def loss(weights):
    run = make(cls, **settings)
    found = run.apply({"params": weights}, batch(), train=True, rngs=streams())
    return found["loss"].value(), {n: m.value() for n, m in found.items()}

  run = jax.jit(jax.value_and_grad(loss, has_aux=True))
  (_, found), grads = run(params(HOSTS.get(cls, cls)))
  return found, grads


def same(a, b):
  return jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), a, b))


@pytest.mark.parametrize("cls", HOSTS)
def test_without_factors_loss_and_gradients_are_the_hosts_bit_for_bit(cls):
  found, grads = trained(cls, **OFF)
  host, host_grads = trained(HOSTS[cls])
  assert set(found) == set(host) == {"loss"}
  assert found["loss"] == host["loss"]
  assert same(grads, host_grads)


@pytest.mark.parametrize("cls", HOSTS)
def test_with_factors_the_hosts_part_stays_and_the_terms_are_added(cls):
  found, grads = trained(cls)
  host, host_grads = trained(HOSTS[cls])
  np.testing.assert_allclose(found["mto/host"], host["loss"], rtol=1e-5)
  added = 0.1 * found["mto/e"] + 0.1 * found["mto/spa"] + 0.01 * found["mto/r"]
  np.testing.assert_allclose(found["loss"], found["mto/host"] + added, rtol=1e-5)
  assert added > 1e-3
  assert not same(grads, host_grads)


@pytest.mark.parametrize("cls", HOSTS)
def test_it_adds_no_parameter_and_evaluations_give_the_hosts_loss(cls):
  assert same(params(cls), params(HOSTS[cls]))

  def loss(kind):
    run = jax.jit(
      lambda p: make(kind).apply({"params": p}, batch(), train=False, rngs=streams())
    )
    return {name: mean.value() for name, mean in run(params(HOSTS[cls])).items()}

  assert loss(cls) == loss(HOSTS[cls])


def test_factors_grow_from_0_over_the_first_part_of_a_training():
  def loss(weights, progress):
    run = make(Mto, ramp=0.2)
    data = batch(progress=progress)
    found = run.apply({"params": weights}, data, train=True, rngs=streams())
    return found["loss"].value() - found["mto/host"].value()

  run = jax.jit(loss)
  whole = run(params(Mae), 0.2)
  assert run(params(Mae), 0.0) == 0
  np.testing.assert_allclose(run(params(Mae), 0.1), whole / 2, rtol=1e-3)
  assert run(params(Mae), 0.9) == whole
  assert run._cache_size() == 1


@functools.cache
def watched(cls):
  """A split, what was noted, and the terms by which it is counted."""

  def parts(m):
    split = m.split(batch(), m.prepare(batch(), train=False))
    image = m.prepare(batch(), train=False)
    notes = m.watch(image, split, train=False)[1]
    tokens = notes["stack"]["tokens"][0]
    return split, tokens, *m.parts(split, tokens), m.mask_tokens(split, N + 1)

  method = make(cls)
  run = jax.jit(
    lambda p: method.apply({"params": p}, rngs=streams(), method=lambda m: parts(m))
  )
  return run(params(HOSTS[cls]))


@pytest.mark.parametrize("cls", HOSTS)
def test_every_mask_token_is_one_parameter_before_its_place_is_added(cls):
  split, _, visible, hidden, marked = watched(cls)
  part = "decoder" if cls is Mto else "encoder"
  token = params(HOSTS[cls])[part]["mask_embedding"]
  assert token.shape == (1, 1, 16)
  places = grid_sincos(4, 4, 16)[np.asarray(split.hide)]
  np.testing.assert_allclose(hidden - places, np.broadcast_to(token, hidden.shape),
                             atol=1e-5)  # fmt: skip
  rest = visible - grid_sincos(4, 4, 16)[np.asarray(split.keep)]
  assert np.abs(rest - np.asarray(token)).max(-1).min() > 1e-3
  assert (np.asarray(marked).sum(1) == hidden.shape[1]).all()
  assert not np.asarray(marked)[:, 0].any()  # the class token


def test_heterogeneity_is_1_where_mask_tokens_are_orthogonal_to_all_visible_ones():
  visible = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8)), jnp.float32)
  visible = visible.at[..., 7].set(0.0)
  token = jnp.zeros((2, 3, 8)).at[..., 7].set(5.0)
  np.testing.assert_allclose(heterogeneity(visible, token), 1.0, atol=1e-6)


def test_heterogeneity_of_a_copy_of_one_visible_token_is_next_to_0():
  visible = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8)), jnp.float32)
  found = heterogeneity(visible, 100 * visible[:, 2:3])
  assert 0 <= found.min() <= found.max() < 0.01
  assert np.isfinite(jax.grad(lambda t: heterogeneity(visible, t).sum())(
    1e4 * visible[:, :1])).all()  # fmt: skip


def test_heterogeneity_does_not_ask_for_order_or_number_of_visible_tokens():
  visible = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 8)), jnp.float32)
  token = visible[:, :2] + 1.0
  found = heterogeneity(visible, token)
  assert ((found > 0) & (found < 1)).all()
  np.testing.assert_allclose(heterogeneity(visible[:, ::-1], token), found, rtol=1e-5)
  affinity = np.einsum("bmd,bkd->bmk", token, visible) / np.sqrt(8)
  p = np.exp(affinity) / np.exp(affinity).sum(-1, keepdims=True)
  by_hand = -(p * np.log(p)).sum(-1) / np.log(5)
  np.testing.assert_allclose(found, by_hand, rtol=1e-4)
  same_tokens = jnp.broadcast_to(visible[:, :1], (2, 9, 8))
  np.testing.assert_allclose(heterogeneity(same_tokens, token), 1.0, atol=1e-5)


TERMS = ("e", "r", "spa")


@functools.cache
def term_gradients(cls):
  """Of each term, with respect to the parameters."""

  def terms(weights):
    def parts(m):
      image = m.prepare(batch(), train=False)
      split = m.split(batch(), image)
      found = m.terms(split, m.watch(image, split, train=True)[1])
      return jnp.stack([found[name].mean() for name in TERMS])

    return make(cls).apply({"params": weights}, rngs=streams(), method=parts)

  found = jax.jit(jax.jacrev(terms))(params(HOSTS[cls]))
  return {n: jax.tree.map(lambda x, i=i: x[i], found) for i, n in enumerate(TERMS)}


@pytest.mark.parametrize("cls", HOSTS)
@pytest.mark.parametrize("name", ["e", "r"])
def test_entropy_and_scale_move_the_mask_token_alone(cls, name):
  flat = jax.tree_util.tree_leaves_with_path(term_gradients(cls)[name])
  moved = {jax.tree_util.keystr(p) for p, leaf in flat if np.abs(leaf).max() > 0}
  part = "decoder" if cls is Mto else "encoder"
  assert moved == {f"['{part}']['mask_embedding']"}


@pytest.mark.parametrize("cls", HOSTS)
def test_exclusion_moves_what_attends_in_the_network_with_mask_tokens(cls):
  found = term_gradients(cls)["spa"]
  part = "decoder" if cls is Mto else "encoder"
  attention = found[part]["stack"]["block_0"]["self_attention"]["qkv"]["kernel"]
  assert np.abs(attention).max() > 0
  head = found["decoder"]["head"]["kernel"]
  assert np.abs(head).max() == 0


def test_mean_attention_is_weighed_by_layer_and_leaves_out_what_mask_tokens_ask():
  rng = np.random.default_rng(0)
  share = rng.random((3, 2, 5)).astype(np.float32)
  marked = np.array([[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]], bool)
  weight = np.exp(-0.5 * np.arange(3))
  weight /= weight.sum()
  wanted = [
    sum(weight[i] * share[i, row][~marked[row]].mean() for i in range(3))
    for row in range(2)
  ]
  found = excluded(jnp.asarray(share), jnp.asarray(marked), 0.5)
  np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_at_the_start_of_uniform_attention_the_share_is_that_of_mask_tokens():
  """With keys of 0 every token is attended alike: 12 of 17 are mask tokens."""
  weights = jax.tree.map(lambda x: x, params(Mae))
  for block in ("block_0", "block_1"):
    attention = weights["decoder"]["stack"][block]["self_attention"]
    attention["qkv"] = jax.tree.map(jnp.zeros_like, attention["qkv"])
  run = jax.jit(
    lambda p: make(Mto).apply({"params": p}, batch(), train=True, rngs=streams())
  )
  np.testing.assert_allclose(run(weights)["mto/spa"].value(), 12 / 17, rtol=1e-5)


def test_scanned_and_recomputed_layers_note_the_same():
  """Of stacked parameters, for the same loss."""
  flat = dict(params(Mae)["decoder"]["stack"])
  blocks = [flat.pop(f"block_{i}") for i in range(2)]
  flat["blocks"] = jax.tree.map(lambda *x: jnp.stack(x), *blocks)
  decoder = params(Mae)["decoder"] | {"stack": flat}
  method = make(Mto).copy(
    decoder=MaskedDecoder(width=16, depth=2, heads=2, scan=True, remat="full")
  )
  run = jax.jit(lambda p: method.apply(p, batch(), train=True, rngs=streams()))
  found = run({"params": params(Mae) | {"decoder": decoder}})
  for name, value in trained(Mto)[0].items():
    np.testing.assert_allclose(found[name].value(), value, rtol=1e-5)


@pytest.mark.parametrize("cls", HOSTS)
def test_heterogeneity_by_layer_is_a_number_of_the_hosts_parameters(cls):
  ask = jax.jit(
    lambda p: make(cls).apply(
      {"params": p}, batch(), rngs=streams(), method="heterogeneity"
    )
  )
  found = ask(params(HOSTS[cls]))
  assert found.shape == (2,)
  assert ((found > 0) & (found <= 1)).all()
  _, _, visible, hidden, _ = watched(cls)
  first = heterogeneity(visible, hidden).mean()
  np.testing.assert_allclose(found[0], first, rtol=1e-5)


def test_the_scale_of_mask_tokens_stays_that_of_visible_ones_where_it_counts():
  """Pushed apart by entropy alone a token grows; the scale holds it."""
  visible = jnp.asarray(np.random.default_rng(2).normal(size=(1, 6, 16)), jnp.float32)
  split = split_by_score(jnp.arange(9.0)[None], 6)

  def length_after(factor):
    def cost(token):
      hidden = jnp.broadcast_to(token, (1, 3, 16))
      stack = {"tokens": (jnp.concatenate([visible, hidden], axis=1),)}
      found = make(Mto, exclusion=0.0).terms(split, {"stack": stack})
      return (found["e"] + factor * found["r"]).sum() - 0.5 * jnp.linalg.norm(token)

    step = jax.jit(lambda t: t - 0.05 * jax.grad(cost)(t))
    token = visible[0, 0]
    for _ in range(300):
      token = step(token)
    return float(jnp.linalg.norm(token) / jnp.linalg.norm(visible, axis=-1).mean())

  assert 0.5 < length_after(10.0) < 2 < length_after(0.0)


def test_the_plain_name_means_the_plug_in_over_mae():
  found = build.find_class("image.mto", "mdm.methods", "method.name", Mae)
  assert found is Mto
  assert NOTES not in params(Mae)
