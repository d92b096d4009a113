"""Other attention: what it computes, and what is said where it cannot run."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.evaluation.attention import peers as attention_peers
from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.peers import (
  JAX_PEERS,
  check_peers,
  jax_peer,
  open_jax_peers,
  splash,
  why_not,
)
from mdm.evaluation.attention.problems import draw_problem

CASE = Case(1, 4, 2, 128, 8, 9)


def test_unknown_peers_are_refused():
  with pytest.raises(ValueError, match="did you mean 'torch'"):
    check_peers(["xla", "torsch"])


def test_what_cannot_run_here_says_what_it_would_need(monkeypatch):
  monkeypatch.setattr(attention_peers.importlib.util, "find_spec", lambda name: None)
  problem = draw_problem(CASE._replace(length=4), "float32")
  entrants, notes = open_jax_peers(("cudnn", "tokamax", "splash"), CASE, problem)
  assert entrants == [] and notes == [
    "cudnn runs on a GPU only: not measured",
    "tokamax is not installed (pip install tokamax): not measured",
    "splash attention runs on a TPU only: not measured (see --aot)",
  ]


@pytest.mark.parametrize(
  ("platform", "missing"), [("gpu", {"splash"}), ("tpu", {"cudnn"})]
)
def test_other_devices_have_other_peers(monkeypatch, platform, missing):
  monkeypatch.setattr(attention_peers.importlib.util, "find_spec", lambda name: "found")
  monkeypatch.setattr(jax, "default_backend", lambda: platform)
  assert {name for name in JAX_PEERS if why_not(name)} == missing


@pytest.fixture
def tokamax(monkeypatch):
  """A package of that name, which remembers how it was called."""
  module = types.ModuleType("tokamax")
  module.calls = []

  def attend(query, key, value, **settings):
    module.calls.append(settings)
    if query.shape[1] % 2:
      raise NotImplementedError("odd lengths\nand more")
    return jax.nn.dot_product_attention(query, key, value, is_causal=True)

  module.dot_product_attention = attend
  monkeypatch.setitem(sys.modules, "tokamax", module)
  monkeypatch.setattr(attention_peers.importlib.util, "find_spec", lambda name: module)
  return module


@pytest.mark.parametrize(
  ("platform", "implementation"), [("cpu", "xla_chunked"), ("gpu", None)]
)
def test_tokamax_runs_in_chunks_on_a_cpu_and_as_it_likes_elsewhere(
  tokamax, monkeypatch, platform, implementation
):
  monkeypatch.setattr(jax, "default_backend", lambda: platform)
  attend = jax_peer("tokamax", CASE)
  monkeypatch.undo()
  attend(*draw_problem(CASE, "float32")[:4])
  assert tokamax.calls == [{"is_causal": True, "implementation": implementation}]


def test_what_a_foreign_peer_refuses_is_noted_in_its_words(tokamax):
  case = CASE._replace(length=7)
  entrants, notes = open_jax_peers(("tokamax",), case, draw_problem(case, "float32"))
  assert (entrants, notes) == ([], ["tokamax at N = 7: odd lengths: not measured"])
  (entrant,), _ = open_jax_peers(("tokamax",), CASE, draw_problem(CASE, "float32"))
  assert entrant.function == "dense" and entrant.keys_read == 128


def biased(query, key, value, score):
  """Dense causal attention with the scores as bias."""
  bias = jnp.repeat(score[:, :, None], 2, axis=1)
  return jax.nn.dot_product_attention(query, key, value, bias, is_causal=True)


def test_splash_attention_with_a_wider_head_has_the_bias_of_keys_and_its_gradient():
  *arrays, d_out = draw_problem(CASE._replace(heads=2, kv_heads=1), "float32")
  out, pull = jax.vjp(lambda *x: splash(*x, is_interpreted=True), *arrays)
  expected, pull_expected = jax.vjp(biased, *arrays)
  np.testing.assert_allclose(out, expected, atol=2e-6)
  for found, wanted in zip(pull(d_out), pull_expected(d_out), strict=True):
    np.testing.assert_allclose(found, wanted, atol=2e-5)
