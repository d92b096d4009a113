import numpy as np
import pytest

from mdm.evaluation.windows import cut_windows, window_batches


def ids(*counts):
  return [np.arange(1, count + 1, dtype=np.int32) for count in counts]


def test_every_token_comes_once_and_in_order():
  texts = ids(11, 4, 5)
  windows = cut_windows(texts, 5)
  assert windows.text.tolist() == [0, 0, 0, 1, 2]
  for number, text in enumerate(texts):
    own = windows.text == number
    assert windows.tokens[own][windows.valid[own]].tolist() == text.tolist()


def test_a_prompt_stands_before_each_text_and_is_marked():
  windows = cut_windows(ids(3, 2), 6, np.array([7, 8], np.int32))
  assert windows.tokens.tolist() == [[7, 8, 1, 2, 3, 0], [7, 8, 1, 2, 0, 0]]
  assert windows.prompt.sum(axis=1).tolist() == [2, 2] and windows.prompt[:, :2].all()


def test_a_text_that_does_not_fit_behind_its_prompt_is_refused():
  with pytest.raises(ValueError, match=r"2 \+ 5 tokens, more than the 6"):
    cut_windows(ids(5), 6, np.array([7, 8], np.int32))


def test_an_empty_text_is_refused():
  with pytest.raises(ValueError, match="text 2 is empty"):
    cut_windows([*ids(3), np.zeros(0, np.int32)], 4)


def test_batches_hold_every_window_once_and_fill_up_with_weightless_rows():
  windows = cut_windows(ids(55), 5)
  batches = list(window_batches(windows, 8))
  assert [len(batch["index"]) for batch in batches] == [8, 8]
  real = np.concatenate([b["index"][b["weight"] > 0] for b in batches])
  assert real.tolist() == list(range(11))
  assert "prompt" not in batches[0]


def test_few_windows_make_small_batches():
  (batch,) = window_batches(cut_windows(ids(3), 5), 64)
  assert len(batch["index"]) == 8 and batch["weight"].sum() == 1
  (one,) = window_batches(cut_windows(ids(3), 5), 1)
  assert len(one["index"]) == 1
