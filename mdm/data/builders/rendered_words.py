"""TFDS builder of rendered words: PNG images in ArrayRecord files, no TensorFlow."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from mdm.data.rendering.photos import prepare_photos
from mdm.data.rendering.recipe import RenderJob, make_jobs
from mdm.data.settings import WordSettings
from mdm.data.workers import parallel_map


@dataclasses.dataclass(eq=False)
class RenderedWordsConfig(tfds.core.BuilderConfig):
  """A configuration named after everything that shapes the images."""

  settings: WordSettings = dataclasses.field(default_factory=WordSettings)
  num_workers: int | None = None


def make_config(
  settings: WordSettings, num_workers: int | None = None
) -> RenderedWordsConfig:
  """The configuration of these settings."""
  return RenderedWordsConfig(
    name=settings.render_name(),
    description="English words rendered in many fonts, words and fonts held out.",
    settings=settings,
    num_workers=num_workers,
  )


class RenderedWords(tfds.core.GeneratorBasedBuilder):
  """Words rendered in many fonts; test splits hold out words, fonts or both."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First."}  # noqa: RUF012 (the name is TFDS's)

  def _info(self) -> tfds.core.DatasetInfo:
    settings = self.builder_config.settings
    shape = (*settings.image_size, settings.channels)
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.builder_config.description,
      features=tfds.features.FeaturesDict(
        {
          "image": tfds.features.Image(shape=shape, encoding_format="png"),
          "text": tfds.features.Text(),
          "font": tfds.features.Text(),
        }
      ),
      disable_shuffling=True,  # records are independent draws already
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    del dl_manager  # nothing is downloaded
    settings = self.builder_config.settings
    rendering = settings.render_settings()
    if rendering.photos_dir and rendering.style == "scene":
      home = settings.home() / "photos"
      ready = prepare_photos(rendering.photos_dir, rendering.channels, home)
      rendering = dataclasses.replace(rendering, photos_dir=str(ready))
    jobs = make_jobs(
      rendering,
      seed=settings.seed,
      num_words=settings.num_words,
      min_len=settings.min_len,
      max_len=settings.max_len,
      fonts_dir=settings.fonts_dir,
      system_fonts=settings.system_fonts,
    )
    self.info.metadata.update(
      fonts_train=sorted({f.style for f in jobs["train"].fonts}),
      fonts_test=sorted({f.style for f in jobs["test"].fonts}),
      families_test=sorted({f.family for f in jobs["test"].fonts}),
      words_train=len(jobs["train"].words),
      words_test=len(jobs["test"].words),
    )
    return {split: self._generate_examples(job) for split, job in jobs.items()}

  def _generate_examples(self, job: RenderJob) -> Iterator[tuple[int, dict[str, Any]]]:
    settings = self.builder_config.settings
    count = settings.num_train if job.split == "train" else settings.num_test
    records = parallel_map(
      "mdm.data.rendering.recipe:renderer",
      job,
      count,
      num_workers=self.builder_config.num_workers,
    )
    yield from enumerate(records)
