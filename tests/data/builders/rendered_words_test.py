from mdm.data import datasets


def test_splits_have_the_counts_asked_for(section):
  counts = {s: len(datasets.load(section, s)) for s in ("train", "test", "test_words")}
  assert counts == {"train": 150, "test": 20, "test_words": 20}


def test_fonts_and_words_that_were_held_out_are_noted(section):
  noted = datasets.load(section, "test").describe()
  assert set(noted["fonts_train"]).isdisjoint(noted["fonts_test"])
  assert noted["words_train"] + noted["words_test"] == 500
  assert len(noted["families_test"]) >= 1


def test_words_of_the_test_split_are_not_trained_on(section):
  train, test = (datasets.load(section, s) for s in ("train", "test"))
  trained = {train.text(k) for k in range(len(train))}
  assert trained.isdisjoint(test.text(k) for k in range(len(test)))
