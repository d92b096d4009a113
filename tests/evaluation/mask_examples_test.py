"""The sheet's examples: all masks of the package, each as it should be."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import mdm.masks
from mdm.evaluation.mask_examples import FRAMES, SPAN, TOKENS, MaskSheet, all_examples

ROWS, COLUMNS, COUNT = 6, 8, 2


@pytest.fixture(scope="module")
def examples():
  """The masks by name."""
  found = all_examples(MaskSheet(count=COUNT, rows=ROWS, columns=COLUMNS))
  return {example.name: example for section in found.values() for example in section}


def test_every_maker_of_masks_is_shown(examples):
  shown = {example.maker for example in examples.values()}
  verbs = ("mask_", "hide_tokens", "replace_", "draw_noising", "draw_negatives")
  ends = ("_visible", "_windows", "hard_scores", "random_scores")
  for info in pkgutil.iter_modules(mdm.masks.__path__):
    module = importlib.import_module(f"mdm.masks.{info.name}")
    for name, maker in inspect.getmembers(module, inspect.isfunction):
      if maker.__module__ != module.__name__ or name in ("mask_count", "cut_windows"):
        continue  # imported, or a part of another that is shown
      if name.startswith(verbs) or name.endswith(ends):
        assert f"masks.{info.name}.{name}" in shown


def test_every_named_maker_exists(examples):
  for example in examples.values():
    module, _, name = f"mdm.{example.maker}".rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


def test_grids_come_in_their_number_and_shape_with_their_share_hidden(examples):
  shares = {"random": 0.75, "cells": 8 / 12, "blocks": 19 / 48, "hard": 0.75}
  shares |= {"green noise": 0.75, "white noise": 0.75}
  for start, share in shares.items():
    (found, *_) = [e for name, e in examples.items() if name.startswith(start)]
    assert found.masks.shape == (COUNT, ROWS, COLUMNS)
    assert (found.masks.mean(axis=(1, 2)) == pytest.approx(share)) is True


def test_the_hard_middle_is_hidden_whole_at_the_full_share(examples):
  mask = examples["hard middle (HPM), alpha 1.0"].masks
  assert mask[:, 1:-1, 2:-2].all() and not mask[:, 0, 0].any()


def test_a_diffusion_hides_more_as_time_goes_by(examples):
  for name in ("linear", "cosine"):
    (mask,) = examples[f"diffusion, {name}, rising t"].masks
    assert mask.shape == (TOKENS // 2, TOKENS)
    assert mask[:4].mean() < 0.35 < 0.65 < mask[-4:].mean()


def test_right_and_left_of_a_word_are_complements(examples):
  right, left = (examples[f"reading, {side}"].masks for side in ("right", "left"))
  assert (right ^ left).all()


def test_spans_end_with_their_rows_and_reach_their_share(examples):
  rows = TOKENS // 2
  length = (np.arange(rows) + 1) * FRAMES // rows
  for rule in ("bernoulli", "count", "exact"):
    (mask,) = examples[f"spans, {rule}, rising length"].masks
    assert not mask[np.arange(FRAMES) >= length[:, None]].any() and mask.any(1).all()
  assert (mask.sum(1) >= 0.4 * length - 1e-6).all()
  assert (mask.sum(1) < 0.4 * length + SPAN).all()


def test_guided_spans_lie_where_confidence_is_or_is_not(examples):
  middle = slice(FRAMES // 3, 2 * FRAMES // 3)
  high, mixed, low = (
    examples[f"sure middle (Ask2Mask), {prefer}"].masks[0, :, middle].mean()
    for prefer in ("high", "mixed", "low")
  )
  assert high > 0.8 > mixed > 0.4 > low


def test_negatives_are_hidden_frames_other_than_ones_own(examples):
  (drawn,) = examples["8 negatives of each"].masks
  anchors = np.flatnonzero(drawn.any(0))
  used = drawn[drawn.any(1)]
  assert (used.sum(1) <= 8).all() and len(used) >= len(anchors) - 1
  assert len(anchors) >= 0.49 * FRAMES - 1


def test_attention_is_drawn_with_queries_as_lines(examples):
  visible = {
    name: ~e.masks[0] for name, e in examples.items() if e.maker.startswith("kernels")
  }
  assert (visible["causal"] == np.tri(TOKENS, dtype=bool)).all()
  assert visible["prefix"][0].sum() == TOKENS // 3
  assert (visible["window of 6"].sum(axis=1) <= 6).all()
  (best,) = [v for name, v in visible.items() if name.startswith("best")]
  assert best.sum(axis=1).tolist() == [min(i + 1, 6) for i in range(TOKENS)]
  assert not (best & ~visible["causal"]).any()


@pytest.mark.parametrize(
  ("settings", "answer"),
  [
    ({"count": 0}, "count = 0 is too small"),
    ({"rows": -1}, "rows = -1 is too small"),
    ({"ratio": 75.0}, "write 0.75"),
  ],
)
def test_settings_out_of_range_are_refused(settings, answer):
  with pytest.raises(ValueError, match=answer):
    all_examples(MaskSheet(**settings))
