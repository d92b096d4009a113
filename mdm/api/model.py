"""A trained model: its method, what it learned, what passes through it."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from mdm.api import weights
from mdm.api.encoding import EncodingModel
from mdm.api.hearing import SpeechModel
from mdm.api.images import ImageModel
from mdm.api.pictures import PictureModel
from mdm.api.text import TextModel
from mdm.api.words import WordModel
from mdm.evaluation.verbs import check_verb, has_verb
from mdm.methods.base import Method
from mdm.methods.speech.base import SpeechMethod
from mdm.training import build
from mdm.training.checkpoint import open_checkpoints
from mdm.training.config import unknown_key


@dataclasses.dataclass(frozen=True, eq=False)
class Model(WordModel, PictureModel, TextModel, ImageModel, SpeechModel, EncodingModel):
  """A trained method with its variables and its processor.

  It reads words (api/words.py), names images or fills them in (api/pictures.py), draws
  them (api/images.py), writes and scores texts (api/text.py), gives vectors
  (api/encoding.py), or writes down speech (api/hearing.py), as far as its method can.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned (averaged parameters where the run kept them).
    step: the training step they are from.
    folder: that it was loaded from, where a tokenizer may be kept.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any] = dataclasses.field(repr=False)
  step: int
  folder: Path | None = None

  def predict(self, given: Any, **settings: Any) -> list[Any]:
    """Reads words, says what images show, or writes down speech, as the method can.

    Args:
      given: one or many; see `read_words`, `name_images` or `transcribe`.
      **settings: of that verb: decoder, num_steps and final_reflect of words; top of
        images; decoder, beam, ngrams, resampler, channels, longest and others of
        recordings; batch.

    Returns:
      A `Reading` or `Naming` of each image, or a `Transcription` of each recording.

    Raises:
      ValueError: a setting of another kind; else as those.
    """
    ask, what = self.reader()
    known = inspect.signature(ask).parameters
    for name in settings:
      if name not in known:
        raise ValueError(unknown_key(name, known, f"a setting of {what}"))
    return ask(given, **settings)

  def reader(self) -> tuple[Callable[..., list[Any]], str]:
    """What `predict` asks, and the name of such models.

    Raises:
      ValueError: the method neither reads or names images nor writes down speech.
    """
    if isinstance(self.method, SpeechMethod):
      check_verb(self.method, "transcribe")
      return self.transcribe, "recognisers of speech"
    if self.names:
      return self.name_images, "classifiers of images"
    check_verb(self.method, "predict")
    return self.read_words, "readers"

  def save_pretrained(self, folder: str | Path, **settings: Any) -> dict[str, Any]:
    """Writes the model for `load`: weights, config, what prepares inputs, and a card.

    Args:
      folder: where to write; made if need be.
      **settings: dtype, metrics, notes and force of `saving.save_pretrained`, which
        also says what is returned and raised.
    """
    from mdm.api.saving import save_pretrained

    return save_pretrained(self, folder, **settings)

  @property
  def names(self) -> bool:
    """Whether the model says what images show."""
    return has_verb(self.method, "classify")

  @property
  def hears(self) -> bool:
    """Whether the model writes down speech."""
    return has_verb(self.method, "transcribe")


def load(run: str | Path, *, step: int | None = None) -> Model:
  """The model of a run, of exported weights, or one that comes with mdm.

  Args:
    run: the run's folder, a folder that `mdm export` wrote, or a name as "reader".
    step: which checkpoint of a run; None for the newest.

  Raises:
    ValueError: there is no such run or model, its weights are missing, damaged or of
      another model, or its config means nothing here; if a newer version wrote it, the
      error says so.
  """
  folder = weights.find_model(run)
  try:
    cfg = weights.load_config(folder)
    method = build.build_method(cfg)
  except ValueError as error:
    raise ValueError(f"{error}{weights.newer_version(folder)}") from None
  if weights.is_exported(folder):
    variables, found = weights.read_variables(folder, cfg, method, step)
    return Model(cfg, method, variables, found, folder)
  checkpoints = open_checkpoints(folder, reads_only=True)
  try:
    variables, found = checkpoints.restore_variables(step)
  finally:
    checkpoints.close()
  return Model(cfg, method, variables, found, folder)
