"""Every config builds, has the sizes it claims, and says what it is for."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys.batches import batch_like

from mdm.evaluation import claims
from mdm.training import build, config, loop
from mdm.training.origin import read_origin
from mdm.training.state import init_variables

ROOT = Path(__file__).parents[1]
CLAIMS = sorted((ROOT / "configs" / "claims").glob("*.py"))
METHODS = sorted(set((ROOT / "configs").glob("*/*.py")) - set(CLAIMS))


def count_parameters(cfg):
  method = build.build_method(cfg)
  batch = jax.tree.map(jnp.asarray, batch_like(cfg, 1))
  shapes = jax.eval_shape(lambda: init_variables(method, batch, 0))
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_settings_are_valid(path):
  cfg = config.load(path)
  loop.read_settings(cfg)
  build.build_method(cfg)


@pytest.mark.parametrize("path", METHODS + CLAIMS, ids=lambda p: p.stem)
def test_header_names_its_command(path):
  text = ast.get_docstring(ast.parse(path.read_text()))
  assert f"{path.relative_to(ROOT)}" in text
  assert len(path.read_text().splitlines()) <= 100


@pytest.mark.parametrize("path", CLAIMS, ids=lambda p: p.stem)
def test_every_arm_of_a_claim_is_valid(path, monkeypatch):
  monkeypatch.chdir(ROOT)
  claim = claims.load_claim(path)
  evaluated = {}
  for run in (*claim.stages, *claim.arms):
    cfg = claim.config_of(run, "runs/claim", seed=0)
    loop.read_settings(cfg)
    build.build_method(cfg)
    read_origin(cfg.init.to_dict())
    evaluated[run] = set(cfg.eval) | {name.split("/")[0] for name in claim.reach}
  assert {n.split("/")[0] for n in claim.report} <= set.union(*evaluated.values())
  for first, second, number, *other in claim.compare:
    assert number.split("/")[0] in evaluated[first]
    assert (other or [number])[0].split("/")[0] in evaluated[second]


@pytest.mark.parametrize(
  ("name", "low", "high"),
  [
    ("mdiff4str_tiny", 0.7e6, 1.0e6),
    ("mdiff4str_reader", 2e6, 3e6),
    ("mdiff4str_small", 18e6, 24e6),
    ("mdiff4str_base", 30e6, 38e6),
    ("md4_chars", 0.7e6, 1.0e6),
    ("md4_text8", 85e6, 105e6),
    ("md4_owt", 160e6, 190e6),
    ("mdlm_owt", 160e6, 190e6),
    ("llada_8b", 7.8e9, 8.3e9),
    ("doge_chars", 0.4e6, 0.8e6),
    ("doge_20m", 13.0e6, 13.3e6),
    ("mae_imagenet", 111.5e6, 112e6),
    ("simmim_vit_b", 86e6, 86.5e6),
    ("simmim_cifar10", 1.1e6, 1.3e6),
    ("doge_320m", 330e6, 340e6),
    ("doge_1b7_32k", 1.67e9, 1.69e9),
    ("w2v_bert_xl", 584e6, 585e6),
    ("w2v_bert_600m_open", 609e6, 610e6),
  ],
)
def test_models_have_their_size(name, low, high):
  [path] = (ROOT / "configs").glob(f"*/{name}.py")
  cfg = config.load(path)
  assert low < count_parameters(cfg) < high
