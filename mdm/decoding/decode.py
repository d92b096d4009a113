"""Decoders by name: one set of weights, read in as many passes as there is time for.

| name   | passes | commits                                                          |
|--------|--------|------------------------------------------------------------------|
| pd     | 1      | everything                                                       |
| ar     | n      | position i in pass i                                             |
| lc     | K      | what is surer than the mean                                      |
| blc    | K      | the same within a window that moves to the right                 |
| random | K      | each position with probability 1/2                               |
| cloze  | 1 + n  | everything, then hides and re-reads one position after the other |

Source: MDiff4STR: Mask Diffusion Model for Scene Text Recognition, 2025, inference.
Differences: listed where each decoder is. The default is lc with K = 3, the paper's
headline setting, where the released configurations fall back to pd.
"""

from jaxtyping import Array, Int, Key

from mdm.decoding.autoregressive import decode_autoregressive
from mdm.decoding.cloze import decode_cloze
from mdm.decoding.confidence import decode_blocks, decode_confident, decode_random
from mdm.decoding.parallel import decode_parallel
from mdm.decoding.reader import Decoded, Predict, Reader
from mdm.decoding.reflect import append_reflection
from mdm.masks.choices import check_choice

DECODERS = ("pd", "ar", "lc", "blc", "random", "cloze")


def decode(
  predict: Predict,
  canvas: Int[Array, "b n"],
  decoder: str = "lc",
  *,
  mask_id: int,
  eos_id: int = 0,
  num_steps: int = 3,
  temperature: float | int = 1.0,
  keys: Key[Array, "b"] | None = None,
  final_reflect: bool = False,
) -> Decoded:
  """Reads the hidden positions of a canvas.

  Args:
    predict: from tokens [b n] and the hidden share [b] to logits [b n v].
    canvas: all `mask_id` to read from nothing; other tokens are given and kept (only a
      final reflection may change them).
    decoder: one of `DECODERS`.
    mask_id: the id of a hidden position, outside the predictor's classes.
    eos_id: the id that ends a row.
    num_steps: passes K of lc, blc and random; the others have their own number.
    temperature: divides the logits, above 0; it changes confidences and hence what lc
      and blc commit first, never which class is likeliest.
    keys: one key per row, for `random` only.
    final_reflect: shows the result to the predictor once more and re-reads all of it.

  Raises:
    ValueError: for an unknown decoder, num_steps < 1, temperature <= 0, missing keys.
  """
  check_decoding(decoder, num_steps=num_steps, temperature=temperature)
  reader = Reader(predict, mask_id, eos_id, temperature)
  if decoder == "pd":
    decoded = decode_parallel(reader, canvas)
  elif decoder == "ar":
    decoded = decode_autoregressive(reader, canvas)
  elif decoder == "lc":
    decoded = decode_confident(reader, canvas, num_steps=num_steps)
  elif decoder == "blc":
    decoded = decode_blocks(reader, canvas, num_steps=num_steps)
  elif decoder == "cloze":
    decoded = decode_cloze(reader, canvas)
  elif keys is None:
    raise ValueError("decoder = 'random' draws numbers; give it a key.")
  else:
    decoded = decode_random(reader, canvas, keys, num_steps=num_steps)
  return append_reflection(reader, decoded) if final_reflect else decoded


def check_decoding(decoder: str, *, num_steps: int, temperature: float | int) -> None:
  """Checks settings before anything is compiled.

  Raises:
    ValueError: for an unknown decoder, num_steps < 1 or temperature <= 0.
  """
  check_choice("decoder", decoder, DECODERS)
  if num_steps < 1:
    raise ValueError(f"num_steps = {num_steps} must be at least 1 pass.")
  if temperature <= 0:
    raise ValueError(f"temperature = {temperature} must be above 0; 1 changes nothing.")
