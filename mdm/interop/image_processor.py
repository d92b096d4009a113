"""How a published processor prepares images, as settings of ours, and the reverse.

Source: transformers 5.23, `preprocessor_config.json` of its image processors.
Differences:
  - images are scaled by Pillow's cubic weights, whatever `resample` says.
  - the middle of an image is cut out before it is scaled, there after: it lies up to
    half a pixel elsewhere, and its border does not know what lay beyond.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

PROCESSOR = "preprocessor_config.json"
DONE = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255}
CUBIC = 3  # Pillow's number
Settings = dict[str, Any]
Moments = Sequence[Sequence[float]]


def read_processor(
  given: Mapping[str, Any] | None, data: Mapping[str, Any], moments: Moments
) -> tuple[Settings, Settings]:
  """Settings of the method, `mean` and `deviation`, and the whole section `data`.

  Args:
    given: what the file holds; None where there is none.
    data: `image_size` and `channels` of the network.
    moments: means and deviations of channels where the file has none.

  Raises:
    ValueError: something that is not done here, or a size that is not the network's.
  """
  given = {name: x for name, x in (given or {}).items() if x is not None}
  for name, wanted in DONE.items():
    found = given.get(name, wanted)
    if not _is_number(found) or not math.isclose(found, wanted, rel_tol=1e-6):
      raise ValueError(
        f"{name} = {found!r} of {PROCESSOR} is not done here, only {wanted!r}; mend it "
        "if images are to be prepared so."
      )
  mean = _read_moments(given, "image_mean", moments[0], -math.inf)
  deviation = _read_moments(given, "image_std", moments[1], 0.0)
  if not given.get("do_normalize", True):
    mean, deviation = (0.0,), (1.0,)
  if data["channels"] == 1 and len(set(mean)) == len(set(deviation)) == 1:
    mean, deviation = mean[:1], deviation[:1]  # one number thrice, for one channel
  crop = _read_crop(given, tuple(data["image_size"]))
  return {"mean": mean, "deviation": deviation}, {"name": "images", **data, **crop}


def write_processor(
  method: Mapping[str, Any], data: Mapping[str, Any]
) -> dict[str, Any]:
  """What evaluation does to an image here, as `preprocessor_config.json` has it.

  Args:
    method: `mean` and `deviation` of it.
    data: `image_size`, `channels`, `crop` and, unless stretched, `crop_share` of it.

  Raises:
    ValueError: the middle of an image is cut out whose sides differ.
  """
  (rows, columns), channels = data["image_size"], data["channels"]
  size: dict[str, Any] = {"height": rows, "width": columns}
  there: dict[str, Any] = {"image_processor_type": "ViTImageProcessor", "size": size}
  if data["crop"] != "stretch":
    if rows != columns:
      raise ValueError(
        f"data.crop = {data['crop']!r} to {rows} x {columns} pixels has no name in "
        "these layouts, where a middle is square; train with data.crop='stretch'."
      )
    short = {"shortest_edge": round(rows / data["crop_share"])}
    there = {"image_processor_type": "CLIPImageProcessor", "size": short}
    there |= {"do_center_crop": True, "crop_size": size}
  there |= {"do_normalize": True, "resample": CUBIC, **DONE}
  for name, moments in (("image_mean", "mean"), ("image_std", "deviation")):
    values = [float(x) for x in method[moments]]
    there[name] = values * channels if len(values) == 1 else values
  return there


def _read_moments(
  given: Mapping[str, Any], name: str, default: Sequence[float], least: float
) -> tuple[float, ...]:
  """A number for each channel, or one for all.

  Raises:
    ValueError: they are none, or not above `least`.
  """
  found = given.get(name, default)
  many = found if isinstance(found, list | tuple) else [found]
  if not many or not all(_is_number(x) and least < x < math.inf for x in many):
    bound = "" if least < 0 else f" above {least:g}"
    raise ValueError(
      f"{name} = {found!r} of {PROCESSOR} must be numbers{bound}; mend it."
    )
  return tuple(float(x) for x in many)


def _read_crop(given: Mapping[str, Any], size: tuple[int, int]) -> Settings:
  """How an image comes to its size: stretched, or its middle.

  Raises:
    ValueError: another size than the network's, or another way.
  """
  found = given.get("size", size)
  short = found.get("shortest_edge") if isinstance(found, Mapping) else None
  if short is not None and given.get("do_center_crop"):
    if not isinstance(short, int) or short < max(size) or size[0] != size[1]:
      raise ValueError(
        f"size = {found} of {PROCESSOR} leaves no middle of {size[0]} x {size[1]} "
        "pixels; mend it."
      )
    crop = {"crop": "center", "crop_share": size[0] / short}
    found = given.get("crop_size", size)
  elif short is None and not given.get("do_center_crop"):
    crop = {"crop": "stretch"}
  else:
    raise ValueError(
      f"{PROCESSOR} with size = {found} and do_center_crop = "
      f"{bool(given.get('do_center_crop'))} is not done here: images are stretched to "
      "height and width, or cut from the middle after shortest_edge."
    )
  if isinstance(found, Mapping):
    found = [found.get("height"), found.get("width")]
  rows, columns = found if _is_pair(found) else (found, found)
  if (rows, columns) != size:
    raise ValueError(
      f"{PROCESSOR} makes images of {rows} x {columns} pixels and config.json has "
      f"image_size = {size[0]} x {size[1]}; positions are not stretched here, so make "
      "them one."
    )
  return crop


def _is_pair(found: Any) -> bool:
  """Whether rows and columns are told apart."""
  return isinstance(found, list | tuple) and len(found) == 2


def _is_number(found: Any) -> bool:
  """Whether it can be compared with one."""
  return isinstance(found, int | float)
