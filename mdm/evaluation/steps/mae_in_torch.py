"""ViTMAE of transformers, for PyTorch's process: `in_torch.py` loads this file."""

import importlib
from collections.abc import Callable
from typing import Any


def make_model(
  settings: dict[str, Any], batch: int, device: str
) -> tuple[Any, Callable[[], Any]]:
  """The model, and the loss of its next pass, with masks drawn anew.

  Args:
    settings: of a `ViTMAEConfig`.
    batch: images of noise.
    device: "cpu" or "cuda".
  """
  torch: Any = importlib.import_module("torch")
  library: Any = importlib.import_module("transformers")
  model = library.ViTMAEForPreTraining(library.ViTMAEConfig(**settings)).to(device)
  side = settings["image_size"]
  image = torch.randn(batch, settings["num_channels"], side, side, device=device)

  def loss() -> Any:
    """Of the images."""
    return model(image).loss

  return model, loss
