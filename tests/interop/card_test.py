from mdm.interop.card import Card, format_number, format_table


def test_numbers_have_four_digits_and_whole_ones_no_point():
  assert format_number(0.123456) == "0.1235"
  assert format_number(2000.0) == "2000"
  assert format_number("a|b\nc") == "a\\|b c"


def test_a_table_has_a_row_for_each_entry_and_the_first_names_the_columns():
  lines = format_table([{"a": 1, "b": 2.5}, {"a": 3}]).split("\n")
  assert lines == ["| a | b |", "| --- | --- |", "| 1 | 2.5 |", "| 3 |  |"]


def test_a_card_tells_training_results_and_limits():
  card = Card(
    "reader",
    "Reads words.",
    facts={"data": "rendered"},
    metrics={"loss": 0.5},
    limits=["one word"],
    usage=["mdm predict reader photo.png"],
    results=[{"reader": "ours", "accuracy": "90%"}],
    notes=["On two cores."],
  )
  text = card.to_markdown()
  order = ["# reader", "mdm predict", "## Training", "| data | rendered |", "90%",
           "On two cores.", "| loss | 0.5 |", "- one word"]  # fmt: skip
  places = [text.index(part) for part in order]
  assert places == sorted(places)


def test_a_card_without_results_leaves_the_section_out():
  card = Card("m", "s", facts={"a": "b"}, metrics={}, limits=["l"], usage=["u"])
  assert "Accuracy" not in card.to_markdown() and "logged" not in card.to_markdown()
