"""An example of every mask the package has: of patches, tokens, speech, attention."""

import dataclasses
import functools
from collections import OrderedDict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from mdm.kernels.eviction import eviction_times
from mdm.kernels.intervals import (
  Intervals,
  causal_intervals,
  dense_mask,
  prefix_intervals,
  segment_intervals,
  window_intervals,
)
from mdm.masks.blocks import block_causal_visible, two_stream_visible
from mdm.masks.cells import mask_cells
from mdm.masks.corruption import hide_tokens
from mdm.masks.grid_blocks import mask_grid_blocks
from mdm.masks.guided_spans import PREFERS, mask_guided_spans
from mdm.masks.hard import count_hard, hard_scores
from mdm.masks.keys import example_keys, uniform_rows
from mdm.masks.negatives import draw_negatives
from mdm.masks.noise import SIGMAS, color_patterns, noise_windows
from mdm.masks.random import mask_bernoulli, mask_exact
from mdm.masks.replacement import replace_tokens
from mdm.masks.schedule import MaskSchedule
from mdm.masks.scores import count_kept, random_scores, split_by_score
from mdm.masks.spans import RULES, mask_spans
from mdm.masks.strategies import STRATEGIES, draw_noising
from mdm.training.settings import at_least

CELL_RATIO, BLOCK_RATIO = 0.6, 0.4  # SimMIM's and BEiT's own
TOKENS = 24  # positions of a row or of attention
FRAMES, SPAN = 48, 5  # frames of a row of speech, and of a span


# Masks by (name, maker), as of `MaskExample`; in the order in which they are drawn.
Named = OrderedDict[tuple[str, str], Bool[Array, "..."]]


class MaskExample(NamedTuple):
  """Masks of one kind, True where hidden; lines and columns are rows of tokens or y x.

  Attributes:
    name: what is drawn above them.
    maker: module and function that made them, below `mdm`.
    masks: one or several, side by side.
  """

  name: str
  maker: str
  masks: Bool[np.ndarray, "m y x"]


@dataclasses.dataclass(frozen=True)
class MaskSheet:
  """Which masks are drawn.

  Attributes:
    seed: of the keys and the noise.
    count: examples of each mask of a patch grid.
    rows, columns: the patch grid.
    ratio: share of patches or tokens hidden where the mask has no other of its own.
  """

  seed: int = 0
  count: int = 3
  rows: int = 14
  columns: int = 14
  ratio: float = 0.75

  def __post_init__(self) -> None:
    for name in ("count", "rows", "columns"):
      at_least(name, getattr(self, name), 1)


def all_examples(sheet: MaskSheet) -> dict[str, list[MaskExample]]:
  """Every mask of the package, by what it is a mask of.

  Raises:
    ValueError: as `count_kept`, for the ratio and the grid.
  """
  seed, count, rows, columns, ratio = dataclasses.astuple(sheet)
  keys = example_keys(jax.random.key(seed), jnp.arange(max(count, TOKENS)))
  grid = _of_grids(keys[:count], rows, columns, ratio)
  noise = _of_noise(keys[:count], rows, columns, ratio, seed)
  tokens, attention = _of_tokens(keys[: TOKENS // 2], ratio), _of_attention(keys[0])
  frames, negatives = _of_frames(keys[: TOKENS // 2]), _of_negatives(keys[:1])
  return {
    f"patches of a {rows} x {columns} grid": _lay(grid | noise, -1, rows, columns),
    "tokens: a line is an example": _lay(tokens, 1, -1, TOKENS),
    "speech, in spans: a line is an example": _lay(frames, 1, -1, FRAMES),
    "speech, negatives: a line is a hidden frame": _lay(negatives, 1, -1, FRAMES),
    "attention: a line is a query, a column a key": _lay(attention, 1, -1, TOKENS),
  }


def _lay(found: Named, *shape: int) -> list[MaskExample]:
  """Masks on the host, each in the shape m y x."""
  return [
    MaskExample(name, maker, np.asarray(mask).reshape(shape))
    for (name, maker), mask in found.items()
  ]


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _of_grids(keys: Key[Array, "b"], rows: int, columns: int, ratio: float) -> Named:
  """Random patches, cells, blocks, and hard patches in three shares."""
  n = rows * columns
  kept = count_kept(n, ratio)
  cell = 2 if rows % 2 == columns % 2 == 0 else 1
  cells = mask_cells(keys, rows, columns, CELL_RATIO, cell=cell)
  blocks = mask_grid_blocks(keys, rows, columns, max(1, round(BLOCK_RATIO * n)))
  found = Named()
  found[f"random, {ratio}", "masks.scores.random_scores"] = _split(
    random_scores(keys, n), kept
  )
  found[f"cells (SimMIM), {CELL_RATIO}", "masks.cells.mask_cells"] = cells
  found[f"blocks (BEiT), {BLOCK_RATIO}", "masks.grid_blocks.mask_grid_blocks"] = (
    blocks.mask
  )
  y, x = jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij")
  middle = -jnp.hypot(y - (rows - 1) / 2, x - (columns - 1) / 2).reshape(1, n)
  difficulty = jnp.broadcast_to(middle, (len(keys), n))
  for alpha in (0.25, 0.5, 1.0):
    score = hard_scores(keys, difficulty, count_hard(n - kept, alpha))
    name = f"hard middle (HPM), alpha {alpha}"
    found[name, "masks.hard.hard_scores"] = _split(score, kept)
  return found


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _of_noise(
  keys: Key[Array, "b"], rows: int, columns: int, ratio: float, seed: int
) -> Named:
  """The colours of ColorMAE."""
  found, size = Named(), max(64, rows, columns)
  for color, sigmas in SIGMAS.items():
    patterns = color_patterns(color, seed=seed, count=64, size=size)
    score = -noise_windows(keys, patterns, rows, columns)
    name = f"{color} noise (ColorMAE) {', '.join(map(str, sigmas))}"
    mask = _split(score, count_kept(rows * columns, ratio))
    found[name, "masks.noise.noise_windows"] = mask
  return found


@functools.partial(jax.jit, static_argnums=1)
def _of_tokens(keys: Key[Array, "b"], ratio: float) -> Named:
  """Shares, diffusion at rising times, the strategies of readers, and wrong tokens."""
  b = len(keys)
  valid, none = jnp.ones((b, TOKENS), bool), jnp.zeros((b, TOKENS), jnp.int32)
  found = Named()
  found[f"exact share {ratio}", "masks.random.mask_exact"] = mask_exact(
    keys, valid, ratio
  )
  found[f"each by itself, {ratio}", "masks.random.mask_bernoulli"] = mask_bernoulli(
    keys, valid, ratio
  )
  times = (jnp.arange(b) + 0.5) / b
  for name in ("linear", "cosine"):
    rate = MaskSchedule(name).rate(times)
    _, mask = hide_tokens(keys, none, valid, rate, mask_id=9)
    found[f"diffusion, {name}, rising t", "masks.corruption.hide_tokens"] = mask
  for number, name in enumerate(STRATEGIES):
    weights = (jnp.arange(len(STRATEGIES)) == number).astype(jnp.float32)
    drawn = draw_noising(keys, jnp.full(b, TOKENS), TOKENS, weights=weights)
    found[f"reading, {name}", "masks.strategies.draw_noising"] = drawn.mask
  _, replaced = replace_tokens(keys, none, valid, num_ids=9)
  found["replaced, not hidden", "masks.replacement.replace_tokens"] = replaced
  return found


@jax.jit
def _of_frames(keys: Key[Array, "b"]) -> Named:
  """Spans by every rule in rows of rising length, and spans guided by confidence."""
  b, found = len(keys), Named()
  length = (jnp.arange(b) + 1) * FRAMES // b
  for rule in RULES:
    mask = mask_spans(keys, length, FRAMES, span=SPAN, rate=0.1, rule=rule, ratio=0.4)
    found[f"spans, {rule}, rising length", "masks.spans.mask_spans"] = mask
  # A recogniser that is sure of the middle of each row.
  middle = jnp.exp(-jnp.square((jnp.arange(FRAMES) - FRAMES / 2) / 6))
  confidence = jnp.broadcast_to(0.02 + 0.96 * middle, (b, FRAMES))
  maker, whole = "masks.guided_spans.mask_guided_spans", jnp.full(b, FRAMES)
  for prefer in PREFERS:
    found[f"sure middle (Ask2Mask), {prefer}", maker] = mask_guided_spans(
      keys, confidence, whole, span=SPAN, prefer=prefer
    )
  return found


@jax.jit
def _of_negatives(keys: Key[Array, "1"]) -> Named:
  """For every hidden frame of a row, those that it is to be told apart from."""
  mask = mask_spans(keys, jnp.array([FRAMES]), FRAMES, span=SPAN, rule="exact")
  found = draw_negatives(keys, mask, 8)
  frames = jnp.take_along_axis(found.anchors[:, None], found.index, axis=2)  # 1 m k
  drawn = jax.nn.one_hot(frames[0], FRAMES, dtype=bool).any(1)  # m n
  drawn &= found.weight[0, :, None] > 0
  return Named({("8 negatives of each", "masks.negatives.draw_negatives"): drawn})


@jax.jit
def _of_attention(key: Key[Array, ""]) -> Named:
  """What a query does not see: intervals of queries per key, and blocks."""
  n, width = TOKENS, TOKENS // 4
  score = uniform_rows(key[None], n)[None]  # 1 1 n
  best = Intervals(causal_intervals(n).start, eviction_times(score, width))
  segments = jnp.searchsorted(jnp.array([5, 12, 20]), jnp.arange(n), side="right")
  intervals = {
    ("causal", "intervals.causal_intervals"): causal_intervals(n),
    (f"window of {width}", "intervals.window_intervals"): window_intervals(n, width),
    ("prefix", "intervals.prefix_intervals"): prefix_intervals(n, jnp.array([n // 3])),
    ("segments", "intervals.segment_intervals"): segment_intervals(segments[None]),
    (f"best {width} so far (dynamic)", "eviction.eviction_times"): best,
  }
  found = Named()
  for (name, maker), at in intervals.items():
    found[name, f"kernels.{maker}"] = ~dense_mask(at, jnp.arange(n))
  found["causal blocks", "masks.blocks.block_causal_visible"] = ~block_causal_visible(
    n, width
  )
  found["two streams", "masks.blocks.two_stream_visible"] = ~two_stream_visible(
    n // 2, n // 6
  )
  return found


def _split(score: Float[Array, "b n"], kept: int) -> Bool[Array, "b n"]:
  """The mask that leaves the lowest scores."""
  return split_by_score(score, kept).mask
