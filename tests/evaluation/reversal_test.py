import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdm.data import datasets
from mdm.evaluation.reversal import (
  Reversal,
  ask_behind,
  ask_in_place,
  compare,
)
from mdm.methods.diffusion.llada import LLaDA
from mdm.methods.text.causal_lm import CausalLM
from mdm.nn.denoiser import Denoiser

ROWS = {
  "tokens": np.array([[1, 2, 3, 4, 5, 9, 0], [6, 7, 8, 9, 0, 0, 0]]),
  "prompt": np.array([[1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0]], bool),
  "valid": np.array([[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 0, 0]], bool),
}
HIDDEN = 10


class Recaller(nn.Module):
  """Knows texts by heart: the next of a text, or all of the one that fits best."""

  texts: tuple[tuple[int, ...], ...]
  vocab_size: int = 28

  def __call__(self, tokens, t=None, *, valid=None, train=False):
    texts = jnp.asarray(self.texts)
    match = (tokens[:, None] == texts).sum(-1).argmax(-1)  # b
    return 9.0 * jax.nn.one_hot(texts[match], self.vocab_size)


@pytest.fixture(scope="module")
def section(tmp_path_factory):
  folder = tmp_path_factory.mktemp("bible")
  rng = np.random.default_rng(0)
  words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(80)]
  lines = [f"Genesis 1:{k + 1} {' '.join(words[4 * k : 4 * k + 4])}" for k in range(20)]
  (folder / "kjv.txt").write_text("\n".join(lines))
  section = {
    "name": "kjv_halves", "manual_dir": str(folder), "count": 20, "length": 24,
    "data_dir": str(tmp_path_factory.mktemp("home")),
  }  # fmt: skip
  datasets.prepare(**section)
  return section


def test_a_diffusion_is_asked_in_place_and_the_end_counts_for_nothing():
  asked = ask_in_place(ROWS, "forward", mask_id=HIDDEN, eos_id=9)
  assert asked.canvas.tolist() == [
    [1, 2, 10, 10, 10, 10, 0], [6, 10, 10, 10, 0, 0, 0]
  ]  # fmt: skip
  assert asked.counts.sum(axis=1).tolist() == [3, 2]
  asked = ask_in_place(ROWS, "backward", mask_id=HIDDEN, eos_id=9)
  assert asked.canvas.tolist() == [[10, 10, 3, 4, 5, 9, 0], [10, 7, 8, 9, 0, 0, 0]]
  assert (asked.truth[asked.counts] == [1, 2, 6]).all()


def test_who_writes_from_left_to_right_is_asked_to_go_on():
  asked = ask_behind(ROWS, "forward", mask_id=HIDDEN, eos_id=9)
  assert asked.canvas.tolist() == [[1, 2] + [10] * 5, [6] + [10] * 6]
  assert (asked.truth[asked.counts] == [3, 4, 5, 7, 8]).all()
  asked = ask_behind(ROWS, "backward", mask_id=HIDDEN, eos_id=9)
  assert asked.canvas.tolist() == [[3, 4, 5] + [10] * 4, [7, 8] + [10] * 5]
  assert (asked.truth[asked.counts] == [1, 2, 6]).all()
  assert asked.valid.sum(axis=1).tolist() == [5, 3]


def test_shares_of_tokens_and_of_halves():
  asked = ask_behind(ROWS, "forward", mask_id=HIDDEN, eos_id=9)
  written = asked.truth.copy()
  written[0, 3] = 0
  found = compare(written, asked)
  assert found["accuracy"] == pytest.approx(4 / 5) and found["exact"] == 0.5
  assert found["accuracy_stderr"] > 0
  assert compare(asked.truth, asked)["accuracy_stderr"] == 0


def test_who_knows_the_texts_completes_both_halves(section):
  dataset = datasets.load(section, "train")
  texts = dataset.fetch(np.arange(len(dataset)))["tokens"]
  method = LLaDA(Recaller(tuple(map(tuple, texts.tolist()))))
  found = Reversal(batch=8, num_steps=4).build(method, section)({})
  for direction in ("forward", "backward"):
    assert found[f"{direction}_accuracy"] == found[f"{direction}_exact"] == 1
  unseen = Reversal(split="test", num_steps=4).build(method, section)({})
  assert unseen["forward_exact"] == unseen["backward_exact"] == 0


def test_a_twin_that_knows_nothing_completes_nothing(section):
  method = CausalLM(Denoiser(28, 8, depth=1, heads=1, is_causal=True, time="none"))
  tokens = np.zeros((1, 24), np.int32)
  variables = method.init(jax.random.key(0), {"tokens": tokens}, train=False)
  found = Reversal(limit=5, batch=4).build(method, section)(variables)
  assert found["count"] == 5 and found["forward_exact"] == found["backward_exact"] == 0
  assert found["forward_accuracy"] < 0.5
