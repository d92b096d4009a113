"""The tokenizer of a run: the one kept in its folder, else that of its data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "tokenizer.json"


def text_settings(data: Mapping[str, Any]) -> Any:
  """The settings of a config's data section, which must be of texts.

  Raises:
    ValueError: it is of images.
  """
  from mdm.data.datasets import read_settings
  from mdm.data.image_settings import ImageSettings
  from mdm.data.text.settings import TokenSettings

  settings = read_settings(data)
  if not isinstance(settings, TokenSettings):
    remedy = "load a run that was trained on texts"
    if isinstance(settings, ImageSettings) and settings.form == "tokens":
      remedy = "images are drawn into a file, `mdm sample RUN --out grid.png`"
    raise ValueError(
      f"data.name = {data.get('name', 'rendered_words')!r} holds no texts; {remedy}."
    )
  return settings


def find_tokenizer(data: Mapping[str, Any], folder: Path | None = None) -> Any:
  """From texts to ids and back.

  Args:
    data: `config.data` of the run.
    folder: of the run; a tokenizer kept there needs no data set.

  Raises:
    ValueError: the data has no text, or was learned from and is not built.
  """
  from mdm.data import speech_selection
  from mdm.data.datasets import read_settings
  from mdm.data.speech_settings import SpeechSettings
  from mdm.data.text.storage import open_tokenizer
  from mdm.data.text.tokenizers import load_tokenizer

  of_speech: Any = read_settings(data)
  is_speech = isinstance(of_speech, SpeechSettings)
  settings = of_speech if is_speech else text_settings(data)
  if folder is not None and (folder / FILE).is_file():
    return load_tokenizer(folder / FILE)
  if is_speech:
    return speech_selection.open_tokenizer(settings)
  return open_tokenizer(settings)
