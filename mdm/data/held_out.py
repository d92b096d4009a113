"""What is held out, by hash: the same in every process, whatever else there is."""

import hashlib


def is_held_out(name: str, *, share: float = 0.1, seed: int = 0) -> bool:
  """Whether the hash of seed and name, as a share of its range, is below `share`.

  Capitals and small letters hash alike.
  """
  digest = hashlib.sha256(f"{seed}:{name.lower()}".encode()).digest()
  return int.from_bytes(digest[:8], "big") < share * 2**64
