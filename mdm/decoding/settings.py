"""Samplers by name, their settings, and what is wrong with them before they run.

| name             | passes   | in each                                                |
|------------------|----------|--------------------------------------------------------|
| ancestral        | T        | reveals each position by a coin of its own             |
| first_hitting    | hidden   | reveals one position, uniformly chosen                 |
| low_confidence   | T        | reveals the surest n / T positions                     |
| remdm_cap        | T        | ancestral, and hides again with min(eta, sigma_max)    |
| remdm_rescale    | T        | the same with eta sigma_max                            |
| remdm_conf       | T        | the same, what was least probable most                 |
| remdm_loop       | T        | ancestral, a while of hiding and revealing, ancestral  |
| forward_backward | T        | hides again as the forward process would, and makes up |
| flow_corrector   | T and up | discrete flow matching with its corrector              |

T is `num_steps`; ancestral, first_hitting and low_confidence never change what they
revealed and stop as soon as nothing is hidden.
"""

import dataclasses
import math

from mdm.decoding.grids import GRIDS
from mdm.masks.choices import check_choice

SAMPLERS = (
  "ancestral",
  "first_hitting",
  "low_confidence",
  "remdm_cap",
  "remdm_rescale",
  "remdm_conf",
  "remdm_loop",
  "forward_backward",
  "flow_corrector",
)
REVISING = SAMPLERS[3:]
CONFIDENCES = ("low", "random")
# Published for text of 1024 tokens in 1024 passes.
ETA = {"remdm_cap": 0.008, "remdm_rescale": 0.015, "remdm_loop": 0.02}


@dataclasses.dataclass(frozen=True)
class SamplerSettings:
  """Plain settings of all samplers; each reads those that concern it.

  Attributes:
    num_steps: passes T; first_hitting has its own number.
    grid: "uniform" or "cosine" times, for all but first_hitting, low_confidence and
      flow_corrector.
    temperature: divides the logits; 0 takes the likeliest token.
    top_p: tokens are drawn from the likeliest that reach this probability.
    block_length: reveals so many positions after the other, from left to right; None
      opens all at once.
    confidence: of low_confidence, "low" for the token's probability, "random" for a
      random number.
    eta: of remdm_cap, remdm_rescale and remdm_loop; None takes the published value.
    t_on, t_off, alpha_on: remdm_loop hides again while t is in (t_off, t_on], a share
      alpha_on being visible.
    guidance: w of classifier-free guidance; 0 is none, and costs nothing.
    never_ids: tokens that are never drawn, such as EOS to force long answers.
    late_ids: tokens that low_confidence commits last, such as EOS and padding.
    eos_id: ends a row once everything up to it is revealed, and fills the rest with it;
      None reveals all. Not for samplers that hide again.
    caches: reuses the logits of a pass that changed no row; for predictors that do not
      look at the time. The result is the same.
    keeps_history: returns the canvas after each pass.
  """

  num_steps: int = 64
  grid: str = "uniform"
  temperature: float = 1.0
  top_p: float = 1.0
  block_length: int | None = None
  confidence: str = "low"
  eta: float | None = None
  t_on: float = 0.55
  t_off: float = 0.05
  alpha_on: float = 0.9
  guidance: float = 0.0
  never_ids: tuple[int, ...] = ()
  late_ids: tuple[int, ...] = ()
  eos_id: int | None = None
  caches: bool = False
  keeps_history: bool = False


def check_sampling(
  sampler: str,
  settings: SamplerSettings,
  *,
  length: int | None = None,
  prompt_length: int = 0,
) -> None:
  """Checks a sampler's name and settings before anything is compiled.

  Args:
    sampler: one of `SAMPLERS`.
    settings: of which those are checked that the sampler reads.
    length: positions of the canvas, if known.
    prompt_length: how many of them are given, in the row with the fewest.

  Raises:
    ValueError: naming the setting, the rule it breaks, and what to write.
  """
  check_choice("sampler", sampler, SAMPLERS)
  _check_draws(settings)
  _check_remasking(sampler, settings)
  _check_combination(sampler, settings)
  if settings.guidance > 0 and prompt_length == 0 and length is not None:
    raise ValueError(
      f"guidance = {settings.guidance} needs a prompt to leave out; give a prompt, or "
      f"set guidance to 0."
    )
  if length is not None:
    _check_lengths(sampler, settings, length, prompt_length)


def _check_draws(settings: SamplerSettings) -> None:
  check_choice("grid", settings.grid, GRIDS)
  check_choice("confidence", settings.confidence, CONFIDENCES)
  if settings.num_steps < 1:
    raise ValueError(f"num_steps = {settings.num_steps} must be at least 1 pass.")
  if not 0 <= settings.temperature < math.inf:
    raise ValueError(
      f"temperature = {settings.temperature} must be 0 or more; 0 takes the likeliest "
      f"token."
    )
  if not 0 < settings.top_p <= 1:
    raise ValueError(
      f"top_p = {settings.top_p} lies outside (0, 1]; 1 keeps every token."
    )
  if not 0 <= settings.guidance < math.inf:
    raise ValueError(
      f"guidance = {settings.guidance} must be 0 or more; 0 is no guidance."
    )


def _check_remasking(sampler: str, settings: SamplerSettings) -> None:
  if settings.eta is not None and sampler not in ETA:
    raise ValueError(
      f"eta = {settings.eta} has no meaning for {sampler!r}; leave it out, or use one "
      f"of {', '.join(ETA)}."
    )
  if settings.eta is not None and not 0 <= settings.eta <= 1:
    raise ValueError(
      f"eta = {settings.eta} lies outside [0, 1]; {ETA[sampler]} was published."
    )
  if not 0 < settings.t_off < settings.t_on < 1:
    raise ValueError(
      f"t_off = {settings.t_off}, t_on = {settings.t_on} must satisfy 0 < t_off < t_on "
      f"< 1; 0.05 and 0.55 were published."
    )
  if not 0 < settings.alpha_on < 1:
    raise ValueError(
      f"alpha_on = {settings.alpha_on} lies outside (0, 1); 0.9 was published."
    )


def _check_combination(sampler: str, settings: SamplerSettings) -> None:
  if settings.late_ids and sampler != "low_confidence":
    raise ValueError(
      f"late_ids = {settings.late_ids} has no meaning for {sampler!r}, which does not "
      f"go by confidence; use 'low_confidence', or never_ids."
    )
  if settings.eos_id is not None and sampler in REVISING:
    raise ValueError(
      f"eos_id = {settings.eos_id} ends rows early, but {sampler!r} may hide any token "
      f"again; leave eos_id out."
    )
  if settings.eos_id is not None and settings.eos_id in settings.never_ids:
    raise ValueError(
      f"eos_id = {settings.eos_id} is among never_ids, so that no row could end; take "
      f"one of them out."
    )
  if settings.block_length is not None and sampler == "flow_corrector":
    raise ValueError(
      f"block_length = {settings.block_length} does not go with 'flow_corrector', "
      f"which has a grid of its own; leave it out."
    )
  if settings.block_length is not None and settings.block_length < 1:
    raise ValueError(
      f"block_length = {settings.block_length} must be at least 1 position."
    )


def _check_lengths(
  sampler: str, settings: SamplerSettings, length: int, prompt_length: int
) -> None:
  if prompt_length >= length:
    raise ValueError(
      f"the prompt has {prompt_length} tokens, which leaves nothing to fill on a "
      f"canvas of {length}; shorten it, or make the canvas longer."
    )
  hidden = length - prompt_length
  if sampler == "low_confidence" and settings.num_steps > hidden:
    raise ValueError(
      f"num_steps = {settings.num_steps} is more than the {hidden} positions to "
      f"reveal, at least one in each; use {hidden} or fewer."
    )
  if settings.block_length is None or sampler == "first_hitting":
    return
  blocks = -(-hidden // settings.block_length)
  if settings.block_length > hidden or settings.num_steps < blocks:
    raise ValueError(
      f"block_length = {settings.block_length} cuts {hidden} positions into {blocks} "
      f"blocks for num_steps = {settings.num_steps}; a block is at most {hidden} long "
      f"and needs at least one pass."
    )
