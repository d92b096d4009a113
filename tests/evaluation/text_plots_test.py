import numpy as np
import pytest
from PIL import Image

from mdm.evaluation import text_plots
from mdm.evaluation.text_plots import (
  TextStory,
  choose_passes,
  draw_film,
  draw_sheet,
  place_cells,
  save_text_plot,
)

GIVEN = [True, True, False, False]
STORY = TextStory(
  [["o", "n", "", ""], ["o", "n", "", "e"], ["o", "n", "c", "e"]], GIVEN, "how"
)


def colors(image):
  return {tuple(color) for color in np.asarray(image.convert("RGB")).reshape(-1, 3)}


def test_hidden_new_and_given_cells_have_their_colors():
  shown = colors(draw_sheet([STORY]))
  assert {text_plots.HIDDEN, text_plots.NEW, text_plots.GIVEN} <= shown


def test_what_was_there_before_is_not_new():
  still = TextStory([["a", "b"], ["a", "b"]], [False, False], "")
  assert text_plots.NEW not in colors(draw_sheet([still]))


def test_every_pass_is_a_row_up_to_twelve():
  rows = [["a"]] * 50
  one, many = (draw_sheet([TextStory(rows[:k], [False], "")]) for k in (3, 50))
  title = draw_sheet([TextStory(rows[:1], [False], "")]).height
  row = (one.height - title) / 2
  assert many.height == title + 11 * row


def test_chosen_passes_include_the_first_and_the_last():
  assert choose_passes(3, 12) == [0, 1, 2]
  chosen = choose_passes(1000, 80)
  assert chosen[0] == 0 and chosen[-1] == 999 and len(chosen) == 80
  assert choose_passes(1, 12) == [0]


def test_cells_are_as_wide_as_their_longest_text_and_never_leave_the_line():
  places = place_cells([["", "the", ""], ["and", "a", "x" * 99]])
  assert [place.width for place in places] == [3, 3, text_plots.COLUMNS]
  assert [place.line for place in places] == [0, 0, 1]
  assert places[1].column == 3


def test_a_film_has_a_frame_per_pass_and_rests_at_the_end(tmp_path):
  short = TextStory(STORY.passes[1:], GIVEN, "")
  frames, times = draw_film([STORY, short])
  assert len(frames) == len(times) == 3 and times[-1] > times[0]
  save_text_plot([STORY, short], tmp_path / "film.gif")
  with Image.open(tmp_path / "film.gif") as film:
    assert film.n_frames == 3 and film.size == frames[0].size


def test_line_feeds_and_ends_are_signs():
  signs = TextStory([["\n", text_plots.END]], [False, False], "")
  plain = TextStory([[" ", " "]], [False, False], "")
  assert (np.asarray(draw_sheet([signs])) != np.asarray(draw_sheet([plain]))).any()


def test_nothing_to_draw_and_unknown_endings_are_refused(tmp_path):
  with pytest.raises(ValueError, match="at least one text"):
    save_text_plot([], tmp_path / "a.png")
  with pytest.raises(ValueError, match=r"name a \.png or \.gif"):
    save_text_plot([STORY], tmp_path / "a.txt")
