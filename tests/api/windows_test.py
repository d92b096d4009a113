"""Windows over long inputs: nothing is lost, read early, or shown without need."""

import pytest

from mdm.api.windows import as_many, windows


def test_windows_hold_every_item_once_in_order_and_none_is_too_long():
  found = list(windows(list(range(10)), "images", size=4))
  assert [len(part) for part in found] == [4, 4, 2]
  assert [item for part in found for item in part] == list(range(10))


def test_nothing_gives_no_window():
  assert list(windows([], "images")) == []


def test_a_window_is_cut_only_when_it_is_asked_for():
  class Counted(list):
    cuts = 0

    def __getitem__(self, index):
      Counted.cuts += 1
      return super().__getitem__(index)

  parts = windows(Counted(range(10)), "images", size=4)
  next(parts)
  assert Counted.cuts == 1


def test_of_an_iterator_no_more_than_a_window_is_asked_for_ahead(capsys):
  asked = []
  parts = windows((asked.append(k) or k for k in range(5000)), "images", size=4)
  assert [next(parts), next(parts)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
  assert len(asked) == 8
  assert sum(len(part) for part in parts) == 4992
  assert capsys.readouterr().err == ""


def test_one_input_is_a_list_of_one_and_many_are_as_they_are():
  many, stream = ["a", "b"], iter("ab")
  assert as_many(many) is many and as_many(stream) is stream
  assert as_many("ab") == ["ab"]


def test_a_bar_is_shown_for_many_items_in_their_unit(capsys):
  list(windows(list(range(1030)), "images", size=4))
  shown = capsys.readouterr().err
  assert "1030/1030" in shown and "images/s" in shown


def test_no_bar_is_shown_for_a_few(capsys):
  list(windows(list(range(9)), "images", size=4))
  assert capsys.readouterr().err == ""


def test_a_window_of_nothing_is_refused():
  with pytest.raises(ValueError, match="size = 0 must be 1 or more"):
    list(windows([1], "images", size=0))
