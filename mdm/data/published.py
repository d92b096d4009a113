"""Data sets of TFDS by the names that `tfds.load` takes, as imagenet2012 or cifar100.

They are kept as ArrayRecord files, which are read without TensorFlow; to build one may
need it, as most of TFDS's builders do.
"""

import contextlib
import difflib
import sys
from collections.abc import Iterator
from typing import Any


def make_builder(name: str, home: str) -> Any:
  """The builder of a published data set, "NAME", "NAME/CONFIG" or "NAME:VERSION".

  Raises:
    ValueError: TFDS has none of this name, or needs TensorFlow to make it.
  """
  import tensorflow_datasets as tfds

  try:
    # TFDS prints what it misses; standard output belongs to whoever called.
    with explain_failures(name), contextlib.redirect_stdout(sys.stderr):
      return tfds.builder(name, data_dir=home, file_format="array_record")
  except tfds.core.registered.DatasetNotFoundError as error:
    near = difflib.get_close_matches(
      name, tfds.list_builders(with_community_datasets=False), n=1
    )
    hint = f"did you mean {near[0]}?" if near else "tfds.list_builders() has them all."
    raise ValueError(
      f"data.tfds_name = {name!r} is no data set of TFDS {tfds.__version__}; {hint}"
    ) from error


@contextlib.contextmanager
def explain_failures(name: str) -> Iterator[None]:
  """Says in one sentence why a builder could not finish.

  Raises:
    ValueError: TensorFlow is missing, or the files that it is built from.
  """
  try:
    yield
  except ModuleNotFoundError as error:
    if "tensorflow" not in f"{error.name} {error}":
      raise
    raise ValueError(
      f"data set {name!r} is built by TFDS with TensorFlow, which is not installed; "
      "install it where data are built (pip install tensorflow), reading does without."
    ) from error
  except AssertionError as error:
    if "manual" not in str(error):
      raise
    raise ValueError(
      f"data set {name!r} is built from files you fetch yourself; set data.manual_dir "
      "to their folder (its page on tensorflow.org/datasets/catalog names them)."
    ) from error
