"""The text backbone: what it may see, what it starts at, and its cached blocks."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.nn.denoiser import Denoiser
from mdm.training import sharding
from mdm.training.settings import Sharding

V, N = 7, 6
TOKENS = jnp.array([[0, 7, 3, 7, 5, 6], [7, 7, 1, 2, 7, 4]])
T = jnp.array([0.3, 0.8])
MD4 = {"mlp": "sigmoid-gated", "mlp_ratio": 8 / 3, "time": "adaln", "cond_width": 64,
       "depth_scaled": True, "epsilon": 1e-5}  # fmt: skip
MDLM = {"mlp": "gelu_tanh", "bias": True, "time": "adaln", "cond_width": 128}
LLADA = {"mlp": "swiglu", "mlp_ratio": 3.0, "norm": "rms", "zero_head": False}
KINDS = {"md4": MD4, "mdlm": MDLM, "llada": LLADA}


def build(**settings):
  return Denoiser(V, **{"width": 8, "depth": 2, "heads": 2} | settings)


@pytest.fixture(scope="module")
def params_of(variables_of):
  @functools.cache
  def draw(kind):
    return variables_of(build(**KINDS[kind]), TOKENS, T)["params"]

  return draw


@functools.cache
def compiled(kind, settings):
  model = build(**KINDS[kind] | dict(settings))
  return jax.jit(lambda p, *args, **kw: model.apply({"params": p}, *args, **kw))


def run(params, kind="md4", tokens=TOKENS, t=T, settings=(), **given):
  return compiled(kind, tuple(settings))(params, tokens, t, **given)


def fresh(model, choose):
  """Some parameters as they start; what is not chosen is not computed."""

  def init():
    return choose(nn.meta.unbox(model.init(jax.random.key(0), TOKENS, T))["params"])

  return jax.jit(init)()


def close(a, b, atol=1e-4):  # logits reach 30
  np.testing.assert_allclose(a, b, atol=atol)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_float32_without_a_class_for_mask(params_of, kind):
  logits = run(params_of(kind), kind, settings=[("dtype", jnp.bfloat16)])
  assert logits.shape == (2, N, V) and logits.dtype == jnp.float32
  assert jnp.isfinite(logits).all()


@pytest.mark.parametrize("kind", ["md4", "mdlm"])
def test_a_fresh_network_finds_every_token_equally_likely(params_of, kind):
  last = fresh(build(**KINDS[kind]), lambda p: [p["head"], p.get("head_bias", 0.0)])
  assert not any(jnp.any(leaf) for leaf in last)
  zeros = dict(zip(("head", "head_bias"), last, strict=True))
  params = params_of(kind)
  assert (run(params | {n: zeros[n] for n in zeros if n in params}, kind) == 0).all()


def test_time_none_ignores_time_and_adaln_hears_it(params_of):
  llada, md4 = params_of("llada"), params_of("md4")
  np.testing.assert_array_equal(run(llada, "llada"), run(llada, "llada", t=1 - T))
  assert float(jnp.abs(run(md4) - run(md4, t=1 - T)).max()) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_on_padding_changes_nothing_at_valid_positions(params_of, kind):
  valid = jnp.arange(N) < jnp.array([[4], [6]])
  logits = run(params_of(kind), kind, valid=valid)
  other = jnp.where(valid, TOKENS, (TOKENS + 3) % V)
  changed = run(params_of(kind), kind, tokens=other, valid=valid)
  np.testing.assert_array_equal(changed[valid], logits[valid])
  short = run(params_of(kind), kind, tokens=TOKENS[:, :4])
  close(logits[0, :4], short[0])
  assert jnp.isfinite(run(params_of(kind), kind, valid=jnp.zeros_like(valid))).all()


def test_every_token_sees_every_other_unless_causal(params_of):
  def influence(settings):
    change = TOKENS.at[:, 3].set((TOKENS[:, 3] + 1) % V)
    logits = run(params_of("llada"), "llada", settings=settings)
    moved = run(params_of("llada"), "llada", tokens=change, settings=settings)
    return np.asarray(jnp.abs(moved - logits).max((0, 2)))

  assert (influence(()) > 1e-6).all()
  causal = influence([("is_causal", True)])
  assert (causal[:3] == 0).all() and (causal[3:] > 1e-6).all()


def test_only_distances_matter(params_of):
  at = jnp.arange(N)[None]
  params = params_of("md4")
  close(run(params, positions=at + 40), run(params, positions=at))
  spread = run(params, positions=2 * at)
  assert float(jnp.abs(spread - run(params, positions=at)).max()) > 1e-3


def test_without_positions_permuting_tokens_permutes_logits(params_of):
  order = jnp.array([3, 0, 5, 1, 4, 2])
  settings = [("positions", "none")]
  logits = run(params_of("mdlm"), "mdlm", settings=settings)
  moved = run(params_of("mdlm"), "mdlm", tokens=TOKENS[:, order], settings=settings)
  close(moved, logits[:, order])


def stacked(params):
  blocks = [params["stack"][f"block_{i}"] for i in range(2)]
  layers = jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)
  return params | {"stack": {"blocks": layers}}


@pytest.mark.parametrize("kind", ["md4", "llada"])
def test_scan_equals_the_unrolled_blocks(params_of, kind):
  params = params_of(kind)
  close(run(stacked(params), kind, settings=[("scan", True)]), run(params, kind))


@pytest.mark.parametrize(("remat", "scan"), [("full", False), ("dots", True)])
def test_remat_leaves_gradients_as_they_are(params_of, remat, scan):
  params = stacked(params_of("md4")) if scan else params_of("md4")

  def gradient(remat):
    settings = (("remat", remat), ("scan", scan))
    return jax.grad(lambda p: (run(p, settings=settings) ** 2).mean())(params)

  jax.tree.map(close, gradient(remat), gradient("none"))


def block_causal(size):
  block = np.arange(N) // size
  return jnp.asarray(block[:, None] >= block[None])[None, None]


@pytest.mark.parametrize(
  ("kind", "settings", "size"),
  [
    ("md4", (), 2),
    ("mdlm", (), 3),
    ("llada", (), 2),
    ("llada", (("is_causal", True),), 2),
  ],
)
def test_cached_blocks_equal_one_pass_under_the_block_causal_mask(
  params_of, kind, settings, size
):
  params, model = params_of(kind), build(**KINDS[kind] | dict(settings))
  whole = run(params, kind, settings=settings, visible=block_causal(size))
  extend = jax.jit(
    lambda tokens, cache, start: model.apply(
      {"params": params}, tokens, cache, t=T, start=start, method="extend"
    )
  )
  cache = model.init_cache(2, N + 2)
  for start in range(0, N, size):
    block = TOKENS[:, start : start + size]
    extend((block + 1) % V, cache, start)  # a draft, not kept
    logits, cache = extend(block, cache, start)
    close(logits, whole[:, start : start + size])


def test_a_scanned_grouped_network_caches_too_and_skips_padding(variables_of):
  model = build(**LLADA, kv_heads=1, qk_norm=True, scan=True)
  variables = variables_of(model, TOKENS)
  valid = jnp.array([[True, False, True], [True, True, True]])
  cache = model.init_cache(2, N)
  assert cache.pairs.key.shape == (2, 2, N, 1, 4)
  real = jnp.ones((2, 3), bool)
  extend = jax.jit(functools.partial(model.apply, method="extend"))
  _, cache = extend(variables, TOKENS[:, :3], cache, start=0, valid=valid)
  logits, cache = extend(variables, TOKENS[:, 3:], cache, start=3, valid=real)
  everything = jnp.concatenate([valid, real], axis=1)
  np.testing.assert_array_equal(cache.valid, everything)
  whole = jax.jit(model.apply)(
    variables, TOKENS, valid=everything, visible=block_causal(3)
  )
  close(logits, whole[:, 3:])


def test_a_tied_head_is_the_embedding_of_the_classes(params_of, variables_of):
  model = build(**LLADA, ties_head=True)
  params = variables_of(model, TOKENS)["params"]
  free = params | {"head": params["embedding"][:V].T}
  assert "head" not in params
  close(model.apply({"params": params}, TOKENS), run(free, "llada"))


def count(model):
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((1, 2), int), jnp.zeros(1)
  )
  return sum(leaf.size for leaf in jax.tree.leaves(nn.meta.unbox(shapes)))


def test_published_sizes_have_their_published_numbers_of_parameters():
  base = {"width": 768, "depth": 12, "heads": 12, "scan": True}
  assert round(count(Denoiser(50_257, **base | MDLM)) / 1e6) == 170  # MDLM: 170 M
  large = {"width": 4096, "depth": 32, "heads": 32, "scan": True}
  assert round(count(Denoiser(126_464, **large | LLADA)) / 1e9, 2) == 8.02  # LLaDA


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_carries_logical_names(kind):
  model = build(**KINDS[kind] | {"scan": True, "qk_norm": True, "kv_heads": 1})
  boxed = jax.eval_shape(model.init, jax.random.key(0), TOKENS, T)
  specs = nn.get_partition_spec(boxed)
  named = [nn.meta.unbox(leaf) for leaf in jax.tree.leaves(
    specs, is_leaf=lambda x: isinstance(x, jax.sharding.PartitionSpec))]  # fmt: skip
  ranks = [leaf.ndim for leaf in jax.tree.leaves(nn.meta.unbox(boxed))]
  assert [len(spec) for spec in named] == ranks
  known = {"embed", "mlp", "heads", "kv", "vocab", "layers", None}
  assert {name for spec in named for name in spec} <= known
  assert all(any(spec) for spec in named)


def test_depth_scaled_kernels_have_variance_two_over_depth_and_fan_in():
  wide = Denoiser(V, width=64, depth=2, heads=1, **MD4)
  up = fresh(wide, lambda params: params["stack"]["block_0"]["mlp"]["up"]["kernel"])
  assert float(up.var() * 64) == pytest.approx(2 / 2, rel=0.05)
  assert up.shape == (64, 171)


def test_dropout_acts_in_training_only(params_of):
  model = build(**MD4, dropout=0.5)

  def logits(seed, train):
    return model.apply(
      {"params": params_of("md4")}, TOKENS, T, train=train,
      rngs={"dropout": jax.random.key(seed)},
    )  # fmt: skip

  assert (logits(0, False) == logits(1, False)).all()
  assert (logits(0, True) != logits(1, True)).any()


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"time": "adaln"}, "needs a t"),
    ({"time": "adaLN"}, "did you mean 'adaln'"),
    ({"mlp": "swigelu"}, "did you mean"),
    ({"positions": "learned"}, "positions = 'learned' is unknown"),
    ({"ties_head": True}, "zero_head=False"),
  ],
)
def test_settings_that_cannot_be_are_named(settings, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(build(**settings).init, jax.random.key(0), TOKENS)


def test_a_block_beyond_the_cache_is_an_error(params_of):
  model = build(**LLADA)
  with pytest.raises(ValueError, match="does not fit in a cache of 8"):
    model.apply(
      {"params": params_of("llada")}, TOKENS, model.init_cache(2, 8), start=3,
      method="extend",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["md4", "llada"])
def test_parameters_cut_over_fsdp_and_tensor_give_the_same_logits(params_of, kind):
  mesh = sharding.make_mesh(Sharding("fsdp+tp", 1, 2, 2), jax.devices()[:4])
  model = build(**KINDS[kind])
  boxed = jax.eval_shape(model.init, jax.random.key(0), TOKENS, T)["params"]
  wanted = nn.logical_to_mesh_sharding(
    nn.get_partition_spec(boxed), mesh, sharding.RULES["fsdp+tp"]
  )
  whole = params_of(kind)
  fitted = jax.tree.map(sharding._fit, nn.meta.unbox(boxed), wanted)
  cut = jax.device_put(whole, fitted)
  close(run(cut, kind), run(whole, kind))
  block = fitted["stack"]["block_0"]
  assert block["attention"]["qkv"]["kernel"].spec[2] == "tensor"
  assert block["mlp"]["down"]["kernel"].spec[1] == "fsdp"
