"""The code in the documents is run as a reader would run it."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import masked

from mdm.evaluation import claims
from mdm.masks.keys import example_keys
from mdm.training import build, config
from mdm.training.loop import train

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```python\n# ([\w/]+\.py)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def blocks():
  return dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()))


def test_the_method_of_the_guide_trains(blocks, tmp_path, monkeypatch):
  (tmp_path / "my_method.py").write_text(blocks["my_method.py"])
  monkeypatch.syspath_prepend(str(tmp_path))
  cfg = masked.get_config()
  cfg.method = {"name": "my_method", "vocab": masked.VOCAB, "mask_ratio": 0.5}
  cfg.train.update(steps=3)
  feed = masked.make_feed(16)

  def batches(start):
    for rows in feed.batches(start):
      yield rows | {"valid": np.ones_like(rows["tokens"], bool)}

  outcome = train(
    cfg, tmp_path / "run", feed=masked.Feed(batches, feed.epoch, feed.facts)
  )
  assert int(outcome.state.step) == 3 and np.isfinite(outcome.metrics["loss"])


def test_the_mask_of_the_guide_hides_every_other_position(blocks):
  room = {}
  exec(blocks["mdm/masks/every_other.py"], room)
  keys = example_keys(jax.random.key(0), jnp.arange(64))
  mask = np.asarray(room["hide_every_other"](keys, jnp.ones((64, 6), bool)))
  assert (mask[:, 1:] != mask[:, :-1]).all()
  assert 0 < mask[:, 0].sum() < 64


def test_the_claim_of_the_guide_is_one(blocks, tmp_path):
  path = tmp_path / "claim.py"
  path.write_text(blocks["configs/claims/my_claim.py"])
  claim = claims.load_claim(path)
  for overrides in claim.arms.values():
    cfg = config.load(ROOT / claim.base, overrides)
    assert build.build_method(cfg).decoder.depth in (1, 2)


def test_every_file_that_the_documents_name_exists():
  for page in ("README.md", "CONTRIBUTING.md", "FROM_PYTORCH.md", "RESULTS.md"):
    text = (ROOT / page).read_text()
    for path in re.findall(r"`((?:mdm|configs|launch|tests)/[\w./-]+)`", text):
      known = (ROOT / path).exists() or "my_claim" in path
      assert known, f"{page} names {path}"
