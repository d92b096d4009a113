"""What the shapes of published MAE weights say of the model they belong to.

A file of weights has no settings. Widths, depths, patches and classes are read from its
shapes. The number of heads leaves no trace in them: it is known for the published
widths, else it must be told. Whether targets were normalised cannot be known either:
set `method.norm_pixels` as the weights were trained.

Source: *Masked Autoencoders Are Scalable Vision Learners*, He et al., 2022, and its
code, `models_mae.py` and `models_vit.py`.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]
PATCHES, PLACES = "patch_embed.proj.weight", "pos_embed"
NEEDED = {PATCHES: 4, PLACES: 3, "blocks.0.mlp.fc1.weight": 2}  # axes by name
NEEDED_DECODER = {"decoder_embed.weight": 2, "decoder_blocks.0.mlp.fc1.weight": 2}
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}  # by width
DECODER_HEADS = {512: 16}
TOLERANCE = 1e-5  # of sines computed by another library


def read_config(
  arrays: Arrays,
  *,
  heads: int | None = None,
  decoder_heads: int | None = None,
  grid: Sequence[int] | None = None,
) -> dict[str, Any]:
  """Sections `method`, `model` and `data` of a config, as far as the weights tell.

  `model` has an encoder, and a decoder if the file has one. A file with a head is a
  classifier, whose positions are learned where fine-tuning changed them.

  Args:
    arrays: by their published names.
    heads: of the encoder; None where the width is published.
    decoder_heads: likewise.
    grid: rows and columns of patches; None for as many rows as columns.

  Raises:
    ValueError: no such weights, or a number that must be told.
  """
  has_decoder = any(name.startswith("decoder_") for name in arrays)
  _check(arrays, NEEDED | (NEEDED_DECODER if has_decoder else {}))
  width, channels, patch, _ = arrays[PATCHES].shape
  rows, columns = _grid(arrays[PLACES].shape[1] - 1, grid)
  is_classifier = "head.weight" in arrays
  table = grid_table(rows, columns, width)
  is_fixed = not is_classifier or is_close(arrays[PLACES], table)
  encoder = {
    "name": "vit.Vit",
    "patch": patch,
    "positions": "sincos" if is_fixed else "learned",
    "has_norm": "fc_norm.weight" not in arrays,
    **_stack(arrays, "blocks", width, _heads("heads", width, heads, HEADS)),
  }
  config: dict[str, Any] = {"method": {}, "model": {"encoder": encoder}}
  if has_decoder:
    inner = arrays["decoder_embed.weight"].shape[0]
    count = _heads("decoder_heads", inner, decoder_heads, DECODER_HEADS)
    decoder = _stack(arrays, "decoder_blocks", inner, count)
    config["model"]["decoder"] = {"name": "patch_decoders.MaskedDecoder", **decoder}
    config["method"] = {"name": "image.mae"}
  if is_classifier:
    count = arrays["head.weight"].shape[0]
    pools: dict[str, Any] = {"pool": "cls", "norm": None}
    if not encoder["has_norm"]:
      pools = {"pool": "mean", "norm": "layer"}
    config["method"] = {"name": "image.classify", "num_classes": count, **pools}
  size = (rows * patch, columns * patch)
  return config | {"data": {"image_size": size, "channels": channels}}


def grid_table(rows: int, columns: int, width: int) -> np.ndarray:
  """The fixed positions [1 n+1 d] as they lie in a file: of the class token zeros.

  Half the width for the column, half for the row: sin(p w), then cos(p w), with
  w_k = 1 / 10000^(k / (width / 4)).
  """
  rates = 1.0 / 10_000.0 ** (np.arange(width // 4) / (width / 4.0))  # d/4
  row, column = np.divmod(np.arange(rows * columns), columns)
  parts = [np.outer(axis, rates) for axis in (column, row)]  # each n d/4
  table = np.concatenate([f(x) for x in parts for f in (np.sin, np.cos)], axis=1)
  return np.pad(table, ((1, 0), (0, 0)))[None].astype(np.float32)  # 1 n+1 d


def is_close(array: Any, table: np.ndarray) -> bool:
  """Whether positions are the table, but for rounding."""
  array = np.asarray(array).astype(np.float32)
  return array.shape == table.shape and bool(np.abs(array - table).max() <= TOLERANCE)


def _check(arrays: Arrays, needed: Mapping[str, int]) -> None:
  """Raises ValueError unless the arrays are there, with so many axes."""
  wrong = [n for n, axes in needed.items() if n not in arrays or arrays[n].ndim != axes]
  if wrong:
    raise ValueError(
      f"{', '.join(wrong)}: missing or of another rank, so these are no weights of an "
      "MAE; name a file in the layout of facebookresearch/mae."
    )


def _stack(arrays: Arrays, name: str, width: int, heads: int) -> dict[str, Any]:
  """Settings of a stack of blocks."""
  return {
    "width": width,
    "depth": _count(arrays, f"{name}."),
    "heads": heads,
    "mlp_ratio": arrays[f"{name}.0.mlp.fc1.weight"].shape[0] / width,
  }


def _count(names: Iterable[str], prefix: str) -> int:
  """Blocks under a prefix: one more than the last one's number."""
  rest = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
  numbers = [name.split(".")[0] for name in rest]
  return 1 + max(int(number) for number in numbers if number.isdigit())


def _heads(name: str, width: int, given: int | None, known: Mapping[int, int]) -> int:
  """Heads as told, or as published for the width."""
  heads = known.get(width) if given is None else given
  if heads is None:
    raise ValueError(
      f"{name} of a width of {width} is not known, and weights do not tell it; pass "
      f"{name}=."
    )
  return heads


def _grid(count: int, given: Sequence[int] | None) -> tuple[int, int]:
  """Rows and columns of so many patches."""
  rows, columns = given or (math.isqrt(count), math.isqrt(count))
  if rows * columns != count:
    raise ValueError(
      f"{count} patches are no grid of {rows} x {columns}; pass grid=(rows, columns)."
    )
  return rows, columns
