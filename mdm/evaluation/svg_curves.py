"""Learning curves as SVG: each seed's line thin, the mean of the seeds strong."""

import html
import math
from collections.abc import Mapping, Sequence

Real = int | float
Curve = Sequence[tuple[Real, Real]]
Span = tuple[Real, Real]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 70, 170, 34, 40
COLORS = (
  "#1f5cb8",
  "#cf4a2a",
  "#268450",
  "#8c4aa8",
  "#a87814",
  "#50505a",
  "#1496a0",
  "#b03060",
)


def draw_curves(groups: Mapping[str, Sequence[Curve]], title: str) -> str:
  """An SVG element of curves over steps; groups without a point are left out.

  Args:
    groups: by name, a curve (steps and values) for each seed. Values that are not
      finite are left out.
    title: what the values are.

  Raises:
    ValueError: no curve has a point.
  """
  kept = {
    name: [c for curve in curves if (c := [p for p in curve if math.isfinite(p[1])])]
    for name, curves in groups.items()
  }
  kept = {name: curves for name, curves in kept.items() if curves}
  if not kept:
    raise ValueError(f"{title}: there is nothing to draw; no curve has a point.")
  points = [p for curves in kept.values() for curve in curves for p in curve]
  spans = tuple(_widen([point[k] for point in points]) for k in (0, 1))
  body = [_draw_axes(spans), _text(LEFT, 18, title, weight="bold")]
  for number, (name, curves) in enumerate(kept.items()):
    color = COLORS[number % len(COLORS)]
    for curve in curves:
      body.append(_draw_line(curve, spans, color, width=1, opacity=0.4))
    body.append(_draw_line(mean_curve(curves), spans, color, width=2.4, opacity=1))
    top = TOP + 12 + 17 * number
    body.append(
      f'<rect x="{WIDTH - RIGHT + 14}" y="{top - 8}" width="10" height="10" '
      f'fill="{color}"/>'
    )
    body.append(_text(WIDTH - RIGHT + 30, top + 1, name))
  height = max(HEIGHT, TOP + 20 + 17 * len(kept))
  return (
    f'<svg viewBox="0 0 {WIDTH} {height}" role="img" '
    f'aria-label="{html.escape(title)}" class="curves">{"".join(body)}</svg>'
  )


def draw_interval(low: Real, mean: Real, high: Real) -> str:
  """A small SVG of a mean and its interval beside zero; a dot alone without one."""
  if not math.isfinite(mean):
    return ""
  ends = [low, high] if math.isfinite(low) else [mean]
  reach = 1.1 * max(map(abs, (*ends, mean))) or 1.0

  def place(value: Real) -> Real:
    """Pixels from the left."""
    return 80 + 76 * value / reach

  return (
    '<svg viewBox="0 0 160 20" class="interval" aria-hidden="true">'
    '<line x1="80" y1="1" x2="80" y2="19" class="axis"/>'
    f'<line x1="{place(ends[0]):.1f}" y1="10" x2="{place(ends[-1]):.1f}" y2="10" '
    f'stroke="{COLORS[0]}" stroke-width="2.5"/>'
    f'<circle cx="{place(mean):.1f}" cy="10" r="4" fill="{COLORS[0]}"/></svg>'
  )


def mean_curve(curves: Sequence[Curve]) -> list[tuple[Real, Real]]:
  """The mean at every step that all the curves have."""
  values = [dict(curve) for curve in curves]
  shared = sorted(set.intersection(*(set(one) for one in values)))
  return [(step, sum(one[step] for one in values) / len(values)) for step in shared]


def nice_ticks(low: Real, high: Real, count: int = 5) -> list[Real]:
  """About `count` multiples of 1, 2 or 5 times a power of ten from low to high."""
  rough = (high - low) / count
  power = 10.0 ** math.floor(math.log10(rough))
  pace = next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9))
  first, last = math.ceil(low / pace - 1e-9), math.floor(high / pace + 1e-9)
  return [k * pace for k in range(first, last + 1)]


def _widen(values: Sequence[Real]) -> Span:
  """The least and the greatest, a little apart."""
  low, high = min(values), max(values)
  room = 0.04 * (high - low) or 0.5 * abs(high) or 1.0
  return low - room, high + room


def _place(point: tuple[Real, Real], spans: tuple[Span, ...]) -> tuple[Real, Real]:
  """Pixels of a point."""
  across, up = (
    (value - low) / (high - low)
    for value, (low, high) in zip(point, spans, strict=True)
  )
  width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
  return LEFT + across * width, HEIGHT - BOTTOM - up * height


def _draw_axes(spans: tuple[Span, ...]) -> str:
  """Lines with their values: steps below, values to the left."""
  (low_x, high_x), (low_y, high_y) = spans
  parts = []
  for x in nice_ticks(low_x, high_x):
    if x < 0:
      continue
    place, _ = _place((x, low_y), spans)
    parts.append(_rule(place, TOP, place, HEIGHT - BOTTOM))
    parts.append(_text(place, HEIGHT - BOTTOM + 17, f"{x:,.6g}", anchor="middle"))
  for y in nice_ticks(low_y, high_y):
    _, place = _place((low_x, y), spans)
    parts.append(_rule(LEFT, place, WIDTH - RIGHT, place))
    parts.append(_text(LEFT - 8, place + 4, f"{y:.4g}", anchor="end"))
  parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "step", anchor="middle"))
  return "".join(parts)


def _draw_line(
  curve: Curve, spans: tuple[Span, ...], color: str, *, width: Real, opacity: Real
) -> str:
  """A curve; one point alone is a dot."""
  places = [_place(point, spans) for point in curve]
  if len(places) == 1:
    (x, y), radius = places[0], 1 + width
    return (
      f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}" '
      f'opacity="{opacity}"/>'
    )
  path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
  return (
    f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}" '
    f'opacity="{opacity}"/>'
  )


def _rule(x1: Real, y1: Real, x2: Real, y2: Real) -> str:
  return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="grid"/>'


def _text(
  x: Real, y: Real, text: str, *, anchor: str = "start", weight: str = "normal"
) -> str:
  return (
    f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">'
    f"{html.escape(text)}</text>"
  )
