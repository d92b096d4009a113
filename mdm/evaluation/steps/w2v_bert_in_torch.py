"""Wav2Vec2Conformer of transformers, for PyTorch's process: `in_torch.py` loads this.

Masks and negatives are drawn anew for every pass, by the library's own functions.
"""

import importlib
from collections.abc import Callable
from typing import Any

UNREAD = {"num_conv_pos_embeddings": 1, "num_conv_pos_embedding_groups": 1}
DROPPED = ("hidden", "activation", "attention", "feat_proj", "conformer_conv")


def make_model(
  settings: dict[str, Any], batch: int, device: str
) -> tuple[Any, Callable[[], Any], dict[str, Callable[[], Any]]]:
  """The model, the loss of its next pass, and numbers of its parts by themselves.

  Args:
    settings: `config`, of a `Wav2Vec2ConformerConfig`; `frames` and `samples` of a
      clip; `masks`, how their spans are drawn.
    batch: clips of noise.
    device: "cpu" or "cuda".
  """
  torch: Any = importlib.import_module("torch")
  library: Any = importlib.import_module("transformers")
  draws: Any = importlib.import_module("transformers.models.wav2vec2.modeling_wav2vec2")
  dropped = {f"{name}_dropout": 0.0 for name in DROPPED}
  config = library.Wav2Vec2ConformerConfig(
    **settings["config"], **UNREAD, **dropped, layerdrop=0.0
  )
  model = library.Wav2Vec2ConformerForPreTraining(config).to(device)
  network = model.wav2vec2_conformer
  network.encoder.pos_conv_embed.requires_grad_(False)  # no pass reads it
  audio = torch.randn(batch, settings["samples"], device=device)
  shape = (batch, settings["frames"])
  noise = torch.randn(*shape, config.conv_dim[-1], device=device)

  def loss() -> Any:
    """Of the clips, per hidden frame."""
    mask = draws._compute_mask_indices(shape, **settings["masks"])
    others = draws._sample_negative_indices(shape, config.num_negatives, mask)
    found = model(
      audio,
      mask_time_indices=torch.from_numpy(mask).to(device),
      sampled_negative_indices=torch.from_numpy(others).to(device),
    )
    return found.loss / mask.sum()

  def encode() -> Any:
    """A number of all that comes out of the blocks."""
    hidden, _ = network.feature_projection(noise)
    return network.encoder(hidden).last_hidden_state.square().sum()

  def front() -> Any:
    """A number of all frames that are made of samples."""
    return network.feature_extractor(audio.clone()).square().sum()

  return model, loss, {"encoder": encode, "front": front}
