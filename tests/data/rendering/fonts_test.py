import pathlib
import shutil

import pytest
from PIL import ImageFont

from mdm.data.rendering.fonts import Font, family_key, find_fonts, split_fonts


@pytest.fixture(scope="module")
def fonts():
  return find_fonts()


def test_symbol_and_mathematics_fonts_are_left_out(fonts):
  names = {pathlib.Path(f.path).stem for f in fonts}
  assert "DejaVuSans" in names
  assert not {n for n in names if n.startswith(("STIXSiz", "STIXNon", "LastResort"))}
  assert names.isdisjoint({"cmex10", "cmmi10", "cmsy10", "DejaVuSansDisplay"})


def test_every_font_draws_letters_differently(fonts):
  for font in fonts[::7]:
    opened = ImageFont.truetype(font.path, 24)
    assert bytes(opened.getmask("a")) != bytes(opened.getmask("b"))


def test_the_order_is_sorted_and_each_style_comes_once(fonts):
  assert list(fonts) == sorted(fonts)
  assert len({(f.family, f.style) for f in fonts}) == len(fonts)
  assert find_fonts() == fonts


def test_a_family_is_never_split_and_nothing_is_lost(fonts):
  for seed in range(5):
    train, test = split_fonts(fonts, share=0.2, seed=seed)
    assert {f.family for f in train}.isdisjoint({f.family for f in test})
    assert set(train) | set(test) == set(fonts)
    assert train
    assert test


def test_the_split_depends_on_the_seed_alone(fonts):
  held = [{f.family for f in split_fonts(fonts, seed=s)[1]} for s in range(8)]
  again = [{f.family for f in split_fonts(fonts[::-1], seed=s)[1]} for s in range(8)]
  assert held == again
  assert len({frozenset(h) for h in held}) > 1


def test_two_families_leave_one_on_each_side():
  two = [Font("a", "a regular", "a.ttf"), Font("b", "b regular", "b.ttf")]
  assert [len(side) for side in split_fonts(two, share=0.01)] == [1, 1]


@pytest.mark.parametrize(
  ("one", "other"),
  [
    ("Source Sans Pro", "Source Sans 3"),
    ("DejaVu Sans", "DejaVu Sans Mono"),
    ("cmr10", "cmtt10"),
    ("Roboto", "Roboto Condensed"),
  ],
)
def test_editions_of_one_design_are_one_family(one, other):
  assert family_key(one) == family_key(other)


def test_a_folder_is_searched_and_broken_files_are_skipped(tmp_path, fonts):
  for family in ("dejavu sans", "dejavu serif"):
    font = next(f for f in fonts if f.family == family)
    shutil.copy(font.path, tmp_path)
  (tmp_path / "broken.ttf").write_bytes(b"<!doctype html>")
  found = find_fonts(tmp_path, packages=False)
  assert [f.family for f in found] == ["dejavu sans", "dejavu serif"]


def test_missing_fonts_say_how_to_install_some(tmp_path):
  with pytest.raises(ValueError, match=r"0 usable fonts.*pip install.*fonts_dir"):
    find_fonts(tmp_path, packages=False)
  with pytest.raises(FileNotFoundError, match=r"fonts_dir = .*is no folder"):
    find_fonts(tmp_path / "none")
