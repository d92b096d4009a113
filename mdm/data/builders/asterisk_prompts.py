"""TFDS builder of Asterisk's telephone prompts: one voice a language, with transcripts.

They come from Debian's packages asterisk-core-sounds-LL-wav (8 kHz WAV) and
asterisk-core-sounds-LL (transcripts), LL being en, es, fr, it or ru. The folder of the
user's holds the .deb files, as `apt-get download` leaves them, or what they install
(usr/share/asterisk/sounds/VOICE and usr/share/doc), which is in /usr/share by default.

Left out are clips of silence, seven of tones, beeps and monkeys, and files without
sound (`ru/is`). `transcript` is the
publisher's text, `text` its words (mdm/data/speech_text.py), empty where there is none
or where it is wrong or not certain what is said: such clips are sound without a text,
and in the training split.

Clips of one text are in one split, chosen by the CRC-32 of its words, so that no test
text is trained on ("goodbye" is said in several clips). Each language is split alone.

Source: Asterisk core sounds 1.6.1; en, es, fr CC-BY-SA-3.0, it and ru CC-BY-3.0.
"""

import dataclasses
import gzip
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow_datasets as tfds

from mdm.data.audio import measure_audio
from mdm.data.builders.debian import read_package
from mdm.data.speech_settings import SpeechSettings
from mdm.data.speech_text import split_of, words_of

VOICES = {
  "en": "en_US_f_Allison",
  "es": "es_MX_f_Allison",
  "fr": "fr_CA_f_June",
  "it": "it_IT_m_Carlo",
  "ru": "ru_RU_f_IvrvoiceRU",
}
INSTALLED = "/usr/share"
SOUNDS = "asterisk/sounds"
NOISE = (
  "ascending-2tone", "descending-2tone", "beep", "beeperr", "confbridge-join",
  "confbridge-leave", "tt-monkeys",
)  # fmt: skip
WRONG = {
  "es": ("vm-mismatch", "vm-record-prepend"),
  "fr": ("if-correct-press", "vm-mismatch"),
  "it": ("confbridge-mute-extended", "is", "vm-tempremoved"),
}  # their transcripts are not what is said: by seconds a character, or a stray note
SPLITS = ("train", "validation", "test")


class Prompt(NamedTuple):
  """One clip: its path below the voice, its content, and what is said."""

  name: str
  content: bytes
  transcript: str
  text: str
  language: str


@dataclasses.dataclass(eq=False)
class AsteriskPromptsConfig(tfds.core.BuilderConfig):
  """The languages, and where they are read from."""

  languages: tuple[str, ...] = ("en",)
  folder: str = INSTALLED


def make_config(settings: SpeechSettings) -> AsteriskPromptsConfig:
  """The configuration of these settings."""
  return AsteriskPromptsConfig(
    name="-".join(settings.languages),
    languages=settings.languages,
    folder=settings.manual_dir or INSTALLED,
  )


class AsteriskPrompts(tfds.core.GeneratorBasedBuilder):
  """Telephone prompts and what they say, in up to five languages."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First."}  # noqa: RUF012 (the name is TFDS's)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description=type(self).__doc__,
      features=tfds.features.FeaturesDict(
        {
          "id": tfds.features.Text(),
          "audio": tfds.features.Text(),  # the file's bytes; TFDS's Audio decodes
          "text": tfds.features.Text(),
          "transcript": tfds.features.Text(),
          "speaker": tfds.features.Text(),
          "language": tfds.features.Text(),
        }
      ),
      disable_shuffling=True,
    )

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    del dl_manager  # nothing is downloaded
    config = self.builder_config
    folder = pathlib.Path(config.folder).expanduser()
    prompts = [p for name in config.languages for p in read_prompts(folder, name)]
    splits: dict[str, list[Prompt]] = {name: [] for name in SPLITS}
    for prompt in prompts:
      splits[split_of(prompt.text) if prompt.text else "train"].append(prompt)
    return {name: self._generate_examples(rows) for name, rows in splits.items()}

  def _generate_examples(
    self, prompts: list[Prompt]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, prompt in enumerate(prompts):
      yield (
        number,
        {
          "id": f"{prompt.language}/{prompt.name}",
          "audio": prompt.content,
          "text": prompt.text,
          "transcript": prompt.transcript,
          "speaker": VOICES[prompt.language].rpartition("_")[2],
          "language": prompt.language,
        },
      )


BUILDER = AsteriskPrompts


def check_manual(folder: str | None) -> None:
  """Raises FileNotFoundError where there are neither packages nor installed prompts."""
  place = pathlib.Path(folder or INSTALLED).expanduser()
  if not _share(place) and not any(place.glob("asterisk-core-sounds-*.deb")):
    raise FileNotFoundError(
      f"data.manual_dir = {folder!r} has no prompts of Asterisk: {_remedy('en')}"
    )


def read_prompts(folder: pathlib.Path, language: str) -> list[Prompt]:
  """The clips of speech of a language, in the order of their names.

  Raises:
    FileNotFoundError: the language's clips or transcripts are not there.
    ValueError: a package or a transcript cannot be read.
  """
  share = _share(folder)
  read = _read_packages if share is None else _read_installed
  clips, listing = read(share or folder, language)
  texts = parse_listing(listing, f"transcripts of {language!r} in {folder}")
  lower = {name.lower(): text for name, text in texts.items()}
  prompts = []
  for name, content in sorted(clips.items()):
    if name in NOISE or name.startswith("silence/"):
      continue
    if not measure_audio(content, name=f"{language}/{name}").samples:
      continue
    transcript = texts.get(name, lower.get(name.lower(), ""))
    is_wrong = name in WRONG.get(language, ())
    words = "" if is_wrong else words_of(transcript, language) or ""
    prompts.append(Prompt(name, content, transcript, words, language))
  return prompts


def parse_listing(content: bytes, where: str) -> dict[str, str]:
  """Texts by name from lines "NAME: TEXT"; a line with ";" in front is a comment.

  Raises:
    ValueError: a line is neither, or the file is not UTF-8.
  """
  texts = {}
  try:
    lines = gzip.decompress(content).decode("utf-8-sig").splitlines()
  except (OSError, EOFError, UnicodeDecodeError) as error:
    raise ValueError(f"{where} cannot be read ({error}); fetch them again.") from error
  for number, line in enumerate(lines, 1):
    if line.strip() and not line.startswith(";"):
      name, colon, text = line.partition(":")
      if not colon:
        raise ValueError(
          f"{where}, line {number}: {line!r} is not 'NAME: TEXT'; correct the line."
        )
      texts[name.strip()] = text.strip()
  return texts


def _read_packages(
  folder: pathlib.Path, language: str
) -> tuple[dict[str, bytes], bytes]:
  """Clips by name, and the listing of transcripts, from .deb files."""
  files: dict[str, bytes] = {}
  for kind in (f"{language}-wav", language):
    found = sorted(folder.glob(f"asterisk-core-sounds-{kind}_*.deb"))
    if not found:
      raise _missing(folder, f"package asterisk-core-sounds-{kind}", language)
    files |= read_package(found[-1])
  paths = (path.removeprefix("usr/share/") for path in files)
  return _sort_out(dict(zip(paths, files.values(), strict=True)), folder, language)


def _read_installed(
  share: pathlib.Path, language: str
) -> tuple[dict[str, bytes], bytes]:
  """The same from what is installed."""
  found: Iterable[pathlib.Path] = [
    *(share / SOUNDS / VOICES[language]).rglob("*.wav"),
    share / _listing_of(language),
  ]
  files = {
    path.relative_to(share).as_posix(): path.read_bytes()
    for path in found
    if path.is_file()
  }
  return _sort_out(files, share, language)


def _sort_out(
  files: Mapping[str, bytes], folder: pathlib.Path, language: str
) -> tuple[dict[str, bytes], bytes]:
  """Clips by their names below the voice, and the listing."""
  place = f"{SOUNDS}/{VOICES[language]}/"
  clips = {
    path.removeprefix(place).removesuffix(".wav"): content
    for path, content in files.items()
    if path.startswith(place) and path.endswith(".wav")
  }
  if not clips:
    raise _missing(folder, f"{place}*.wav", language)
  if _listing_of(language) not in files:
    raise _missing(folder, _listing_of(language), language)
  return clips, files[_listing_of(language)]


def _listing_of(language: str) -> str:
  """Where a language's transcripts are installed, below /usr/share."""
  return f"doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"


def _share(folder: pathlib.Path) -> pathlib.Path | None:
  """The folder that holds `asterisk/sounds` and `doc`; None where there is none."""
  places = (folder, folder / "usr/share", folder.parent.parent)
  return next((p for p in places if (p / SOUNDS).is_dir()), None)


def _missing(folder: pathlib.Path, what: str, language: str) -> FileNotFoundError:
  """The error that names what a folder lacks."""
  return FileNotFoundError(f"{folder} has no {what}: {_remedy(language)}")


def _remedy(language: str) -> str:
  """How to come by the prompts of a language."""
  names = f"asterisk-core-sounds-{language} asterisk-core-sounds-{language}-wav"
  return (
    f"install them with `apt-get install {names}`, or fetch the packages with `apt-get "
    f"download {names}` and set data.manual_dir to their folder."
  )
