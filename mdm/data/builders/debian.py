"""Files of Debian packages without Debian's tools: an `ar` archive that holds a tar.

Source: Debian's manual page deb(5).
"""

import io
import pathlib
import tarfile
from collections.abc import Iterator

MAGIC = b"!<arch>\n"
HEADER = 60  # bytes before each member: its name in 16 of them, its size in 48..57


def read_package(path: pathlib.Path) -> dict[str, bytes]:
  """The files that a package installs, by their paths below "/".

  Raises:
    ValueError: it is no whole package, or packed in a way that Python does not read.
  """
  try:
    [content] = [c for name, c in _members(path) if name.startswith("data.tar")]
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
      for member in tar:
        stream = tar.extractfile(member) if member.isfile() else None
        if stream is not None:
          files[member.name.removeprefix("./")] = stream.read()
  except (tarfile.TarError, EOFError, OSError, ValueError) as error:
    raise ValueError(
      f"{path} cannot be read as a Debian package ({error}); fetch it again with "
      "`apt-get download`, or unpack it with `dpkg-deb -x`."
    ) from error
  return files


def _members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
  """Name and content of each member of an `ar` archive."""
  content = path.read_bytes()
  if not content.startswith(MAGIC):
    raise ValueError("it does not begin as an archive")
  place = len(MAGIC)
  while place < len(content):
    header = content[place : place + HEADER]
    name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
    place += HEADER
    if place + size > len(content):
      raise ValueError(f"its member {name} is cut off")
    yield name, content[place : place + size]
    place += size + size % 2  # members begin at even places
