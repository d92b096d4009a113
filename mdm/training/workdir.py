"""The folder of a run belongs to one config, what is stored with it, and one training.

A second training in the same folder would write over the checkpoints of the first.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_collections

from mdm.training import config
from mdm.training.processes import agreed, check_shared, is_first

CONFIG, LOCK = "config.json", ".lock"


def claim_workdir(
  cfg: ml_collections.ConfigDict,
  workdir: str | Path,
  files: Mapping[str, str] | None = None,
) -> Path:
  """Makes the run's folder and stores the config in it, or checks the one stored.

  The first of several processes does so; the others see that it is their folder, and
  their config.

  Args:
    cfg: the whole config.
    workdir: the folder.
    files: texts that are stored beside it, by name, and must stay the same.

  Raises:
    ValueError: the folder is the address of a bucket, belongs to another config or
      other data, cannot be written, or is not shared by all processes.
    PeerError: another process raises one of these.
  """
  folder, texts = Path(workdir), dict(files or {})
  with agreed():
    if "://" in str(workdir):  # as a path it would be a folder named `gs:` right here
      raise ValueError(
        f"--workdir {workdir} is no folder; mount the bucket, and name the folder "
        "there."
      )
    if is_first():
      with _named_failure(folder):
        _check_stored(cfg, folder, texts)
        _store(cfg, folder, texts)
  check_shared(folder)
  with agreed(), _named_failure(folder):
    if not is_first():
      _check_stored(cfg, folder, texts)
  return folder


@contextlib.contextmanager
def hold_workdir(folder: Path) -> Iterator[None]:
  """Keeps other trainings out of the folder; ends with the process, however it ends.

  The first process of a training holds it for all. Where the system or the file system
  has no locks, nothing is held.

  Raises:
    ValueError: another process trains there.
    PeerError: the first process raises this.
  """
  with contextlib.ExitStack() as held:
    with agreed():
      if is_first():
        held.enter_context(_lock(folder))
    yield


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
  """Holds the folder for this process."""
  try:
    import fcntl
  except ImportError:  # not a POSIX system
    yield
    return
  with (folder / LOCK).open("a+") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      file.seek(0)
      owner = file.read().strip() or "another process"
      raise ValueError(
        f"--workdir {folder} is being trained in by {owner}; wait for it, stop it, or "
        "use another folder."
      ) from None
    except OSError:  # a file system without locks
      pass
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    yield
    file.truncate(0)


def _check_stored(
  cfg: ml_collections.ConfigDict, folder: Path, files: Mapping[str, str]
) -> None:
  """Raises ValueError where the folder holds another config or another such file."""
  stored = folder / CONFIG
  theirs = config.load(stored).to_dict() if stored.exists() else cfg.to_dict()
  if found := config.differences(cfg.to_dict(), theirs):
    raise ValueError(
      f"--workdir {folder} belongs to another config ({'; '.join(found[:5])}); use "
      "another folder, or the config it was started with."
    )
  for name, text in files.items():
    if (folder / name).exists() and (folder / name).read_text("utf-8") != text:
      raise ValueError(
        f"--workdir {folder} has another {name} than the data now; use another "
        "folder, or the data it was started with."
      )


def _store(
  cfg: ml_collections.ConfigDict, folder: Path, files: Mapping[str, str]
) -> None:
  """Writes the files, and last the config, each in one step."""
  folder.mkdir(parents=True, exist_ok=True)
  for name, text in {**files, CONFIG: config.to_json(cfg)}.items():
    temporary = folder / f"{name}.tmp"
    temporary.write_text(text, "utf-8")
    os.replace(temporary, folder / name)


@contextlib.contextmanager
def _named_failure(folder: Path) -> Iterator[None]:
  """Says which folder it was that failed."""
  try:
    yield
  except OSError as error:
    raise ValueError(
      f"--workdir {folder} cannot be written ({error.strerror}); name another folder."
    ) from None
