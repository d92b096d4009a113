import pytest
from toys.voices import package

from mdm.data.builders.debian import read_package

FILES = {"usr/share/doc/a.txt": b"odd", "usr/share/b.wav": b"even bytes"}


def test_a_package_gives_the_files_that_it_installs(tmp_path):
  (tmp_path / "a.deb").write_bytes(package(FILES))
  assert read_package(tmp_path / "a.deb") == FILES


def test_what_is_no_package_or_is_cut_off_is_refused_with_its_name(tmp_path):
  path = tmp_path / "a.deb"
  whole = package(FILES)
  damaged = {
    b"text": "does not begin as an archive",
    whole[:-40]: "is cut off",
    whole.replace(b"data.tar.xz", b"data.odd.xz"): "cannot be read",
    whole.replace(b"\xfd7zXZ", b"\xfd7zXY"): "cannot be read",
  }
  for content, reason in damaged.items():
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.deb .*{reason}|a\.deb {reason}"):
      read_package(path)
  with pytest.raises(ValueError, match="fetch it again with `apt-get download`"):
    read_package(tmp_path / "none.deb")
