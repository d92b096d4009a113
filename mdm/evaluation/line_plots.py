"""Lines through measured points on logarithmic axes, as a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SIZE, LEFT, RIGHT, TOP, BOTTOM = (860, 560), 90, 190, 50, 60
MOST_TICKS = 16
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (225, 225, 228)
COLORS = (
  (31, 92, 184),
  (207, 74, 42),
  (38, 132, 80),
  (140, 74, 168),
  (168, 120, 20),
  (80, 80, 90),
  (20, 150, 160),
)

Line = Sequence[tuple[float, float]]
Span = tuple[float, float]


def draw_lines(
  lines: Mapping[str, Line],
  *,
  title: str,
  across: str,
  up: str,
  mark: tuple[float, str] | None = None,
) -> Image.Image:
  """Each line's points (x, y), both positive, joined and named.

  Args:
    lines: by name, the first in the strongest colour.
    title: above.
    across: what x is.
    up: what y is.
    mark: an x and what is there, as a dashed line.

  Raises:
    ValueError: no line has two points.
  """
  if not any(len(line) > 1 for line in lines.values()):
    raise ValueError("there is nothing to draw: no line has two points.")
  points = [point for line in lines.values() for point in line]
  spans = tuple(_span([point[k] for point in points]) for k in (0, 1))
  image = Image.new("RGB", SIZE, PAPER)
  draw = ImageDraw.Draw(image)
  _draw_axes(draw, _choose_ticks(sorted({x for x, _ in points})), spans)
  draw.text((LEFT, 16), title, fill=INK, font=_font(16))
  draw.text((LEFT, SIZE[1] - 24), across, fill=INK, font=_font(13))
  draw.text((8, TOP - 22), up, fill=INK, font=_font(13))
  if mark is not None:
    _draw_mark(draw, mark, spans)
  ends: list[float] = []
  for number, (name, line) in enumerate(lines.items()):
    color = COLORS[number % len(COLORS)]
    places = [_place(point, spans) for point in sorted(line)]
    draw.line(places, fill=color, width=3 if number == 0 else 2)
    for x, y in places:
      draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    x, y = places[-1]
    while any(abs(y - other) < 15 for other in ends):  # names do not overlap
      y += 3
    ends.append(y)
    draw.text((SIZE[0] - RIGHT + 10, y - 8), name, fill=color, font=_font(13))
  return image


def save_plot(image: Image.Image, path: str | Path) -> None:
  """Writes a picture.

  Raises:
    ValueError: the file cannot be written.
  """
  try:
    image.save(path)
  except (OSError, KeyError, ValueError) as error:
    raise ValueError(f"{path} cannot be written ({error}); name a .png file.") from None


def find_crossover(one: Line, other: Line) -> float | None:
  """The x from which on `one` stays below `other`, along straight lines in logarithms.

  None where it is never below; the first x where it always is. Lines are compared where
  both have points.
  """
  a, b = dict(one), dict(other)
  shared = sorted(a.keys() & b.keys())
  gaps = [math.log(a[x] / b[x]) for x in shared]
  if not gaps or gaps[-1] >= 0:
    return None
  last = max((k for k, gap in enumerate(gaps) if gap >= 0), default=None)
  if last is None:
    return shared[0]
  low, high = (math.log(shared[k]) for k in (last, last + 1))
  share = gaps[last] / (gaps[last] - gaps[last + 1])
  return math.exp(low + share * (high - low))


def _choose_ticks(xs: Sequence[float]) -> Sequence[float]:
  """Every measured x, or, where these are many, the powers of ten among them."""
  if len(xs) <= MOST_TICKS:
    return xs
  first, last = math.ceil(math.log10(xs[0])), math.floor(math.log10(xs[-1]))
  return [10.0**power for power in range(first, last + 1)]


def _span(values: Sequence[float]) -> Span:
  """Logarithms of the least and the greatest, a little apart."""
  low, high = math.log(min(values)), math.log(max(values))
  room = 0.06 * max(high - low, 0.5)
  return low - room, high + room


def _place(point: tuple[float, float], spans: tuple[Span, ...]) -> tuple[float, float]:
  """Pixels of a point."""
  across, up = (
    (math.log(value) - low) / (high - low)
    for value, (low, high) in zip(point, spans, strict=True)
  )
  width, height = SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM
  return LEFT + across * width, SIZE[1] - BOTTOM - up * height


def _draw_axes(
  draw: ImageDraw.ImageDraw, xs: Sequence[float], spans: tuple[Span, ...]
) -> None:
  """A line for each measured x, and for 1, 2, 5 times the powers of ten."""
  (low_x, _), (low_y, high_y) = spans
  for x in xs:
    place, _ = _place((x, math.exp(low_y)), spans)
    draw.line((place, TOP, place, SIZE[1] - BOTTOM), fill=FAINT)
    draw.text(
      (place, SIZE[1] - BOTTOM + 8), f"{x:,g}", fill=INK, font=_font(12), anchor="ma"
    )
  for power in range(-9, 10):
    for first in (1, 2, 5):
      y = first * 10.0**power
      if low_y <= math.log(y) <= high_y:
        _, place = _place((math.exp(low_x), y), spans)
        draw.line((LEFT, place, SIZE[0] - RIGHT, place), fill=FAINT)
        draw.text((LEFT - 8, place), f"{y:g}", fill=INK, font=_font(12), anchor="rm")


def _draw_mark(
  draw: ImageDraw.ImageDraw, mark: tuple[float, str], spans: tuple[Span, ...]
) -> None:
  x, text = mark
  place, _ = _place((x, math.exp(spans[1][0])), spans)
  for top in range(TOP, SIZE[1] - BOTTOM, 10):
    draw.line((place, top, place, top + 5), fill=INK)
  is_right = place > (LEFT + SIZE[0] - RIGHT) / 2
  edge, anchor = (place - 6, "ra") if is_right else (place + 6, "la")
  draw.text((edge, TOP + 4), text, fill=INK, font=_font(13), anchor=anchor)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
  return ImageFont.load_default(size)
