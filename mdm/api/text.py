"""What a model of texts is asked for: to write on, to fill in, to say how likely."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from mdm.api.canvases import make_canvas, read_template
from mdm.api.scoring import TextScore, encode_texts, make_score, read_texts
from mdm.api.writing import (
  Sample,
  check_canvas,
  is_causal,
  is_timeless,
  make_settings,
  read_sample,
)
from mdm.decoding.settings import SamplerSettings
from mdm.evaluation.likelihood import Scored, make_scorer, score_batches
from mdm.evaluation.samples import draw_rows, make_sampler
from mdm.evaluation.tokenizers import find_tokenizer, text_settings
from mdm.evaluation.verbs import check_verb
from mdm.evaluation.windows import cut_windows, window_batches
from mdm.methods.base import Method


class TextModel:
  """The verbs of models of texts, for a class with these attributes.

  Attributes:
    cfg: the run's config.
    method: the method.
    variables: what it learned.
    folder: the run's, where its tokenizer is kept.
  """

  cfg: ml_collections.ConfigDict
  method: Method
  variables: Mapping[str, Any]
  folder: Path | None

  @functools.cached_property
  def tokenizer(self) -> Any:
    """From texts to ids and back."""
    return find_tokenizer(self.cfg.data.to_dict(), self.folder)

  def sample(
    self,
    prompt: str | None = None,
    *,
    num: int = 1,
    length: int | None = None,
    sampler: str = "ancestral",
    steps: int | None = None,
    seed: int = 0,
    batch: int = 32,
    **settings: Any,
  ) -> list[Sample]:
    """Writes texts that begin with a prompt, or with nothing.

    Args:
      prompt: the beginning.
      num: how many texts.
      length: tokens of the canvas, prompt included; None for the training's.
      sampler: one of `decoding.settings.SAMPLERS`; left-to-right models have one.
      steps: passes; None for one to each position, up to 128.
      seed: text i draws from the seed's key folded with i.
      batch: texts written at once.
      **settings: others of `decoding.settings.SamplerSettings`: temperature, top_p,
        guidance (which leaves the prompt out), block_length, eta, keeps_history ...

    Raises:
      ValueError: settings that make no sense, a prompt that does not fit or has unknown
        characters, a model that cannot write. Nothing is compiled before.
    """
    check_verb(self.method, "sample")
    size = text_settings(self.cfg.data.to_dict()).length if length is None else length
    return self._write([prompt or ""], size, num, sampler, steps, seed, batch, settings)

  def infill(
    self,
    template: str,
    *,
    num: int = 1,
    length: int | None = None,
    sampler: str = "ancestral",
    steps: int | None = None,
    seed: int = 0,
    batch: int = 32,
    **settings: Any,
  ) -> list[Sample]:
    """Fills the holes of a template, as "In the beginning [MASK:3] created".

    Args:
      template: `[MASK]` hides one token, `[MASK:12]` twelve.
      num: how many texts.
      length: tokens of the canvas; what the template leaves of them is written after
        it. None for the template's own.
      sampler: as for `sample`, and so are the others.

    Raises:
      ValueError: as `sample`; a template without holes.
    """
    check_verb(self.method, "sample")
    parts = read_template(template)
    return self._write(parts, length, num, sampler, steps, seed, batch, settings)

  def score(
    self,
    texts: str | Path | Sequence[str | Path],
    *,
    prompt: str | None = None,
    num_strata: int = 32,
    seed: int = 0,
    batch: int = 32,
  ) -> list[TextScore]:
    """How likely each text is: nats, bits per token and character, perplexity.

    Texts longer than the training's are cut into windows of its length, which are
    scored each by itself and all counted. The score of a model that writes from left to
    right is exact; that of a mask diffusion is an upper bound.

    Args:
      texts: one or many; a `Path` is a file, a string the text itself.
      prompt: what each text follows; it is given, and not scored.
      num_strata: hidden counts, and network passes, to each window of a bound.
      seed: of what is hidden.
      batch: windows scored at once.

    Raises:
      ValueError: a text that is empty, missing or has unknown characters; a model that
        cannot score. Nothing is compiled before.
    """
    score = self._scorer(num_strata)
    found = read_texts(texts)
    length = text_settings(self.cfg.data.to_dict()).length
    given = np.asarray(self.tokenizer.encode(prompt or ""), np.int32)
    windows = cut_windows(encode_texts(found, self.tokenizer), length, given)
    batches = window_batches(windows, batch)
    scored = score_batches(score, self.variables, batches, seed=seed)
    strata = 0 if is_causal(self.method) else num_strata
    return [
      make_score(
        source,
        Scored(*(part[windows.text == number] for part in scored)),
        len(self.tokenizer.normalize(text)),
        strata,
      )
      for number, (source, text) in enumerate(found)
    ]

  def _write(
    self,
    parts: list[str | int],
    length: int | None,
    num: int,
    sampler: str,
    steps: int | None,
    seed: int,
    batch: int,
    settings: Mapping[str, Any],
  ) -> list[Sample]:
    """Fills `num` canvases of the same parts."""
    if num < 1 or batch < 1:
      raise ValueError(f"num = {num} and batch = {batch} must be 1 or more.")
    data = text_settings(self.cfg.data.to_dict())
    canvas = make_canvas(
      parts,
      self.tokenizer,
      mask_id=getattr(self.method, "mask_id"),  # noqa: B009  of all that can sample
      length=length,
      multiple=getattr(self.method, "block_length", 1),
    )
    eos_id = self.tokenizer.eos_id if data.needs_eos else None
    chosen = make_settings(
      sampler, steps, canvas, settings,
      eos_id=eos_id, is_timeless=is_timeless(self.method),
    )  # fmt: skip
    check_canvas(self.method, sampler, chosen, canvas)
    tokens, valid, given = (np.broadcast_to(x, (num, len(x))) for x in canvas)
    found = draw_rows(
      self._sampler(sampler, chosen), self.variables, tokens,
      seed=seed, batch=batch, valid=valid, prompt=given,
    )  # fmt: skip
    return [
      read_sample(canvas, part, row, self.tokenizer)
      for part in found
      for row in range(len(part.tokens))
    ]

  @functools.cache  # noqa: B019  one compiled sampler per setting, as long as the model
  def _sampler(self, sampler: str, settings: SamplerSettings) -> Any:
    return make_sampler(self.method, sampler, settings)

  @functools.cache  # noqa: B019
  def _scorer(self, num_strata: int) -> Any:
    return make_scorer(self.method, num_strata)
