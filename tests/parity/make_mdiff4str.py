"""Writes mdiff4str.npz: what the original's networks give for small random weights.

  python tests/parity/make_mdiff4str.py CHECKOUT [OUTPUT]

CHECKOUT is a checkout of github Topdu/OpenOCR; the interpreter needs torch and numpy
(tried: torch 2.13). Nothing of it is needed to run the tests, which read the numbers.
The keys are listed in README.md beside this file.
"""

import pathlib
import sys

import numpy as np
import torch

MIXERS = [["Conv"], ["Conv", "FGlobal", "Global"], ["Global"]]
DIMS, HEADS = [8, 16, 32], [2, 4, 4]
LAYERS, DECODER_HEADS, CANVAS, COPIES = 2, 4, 26, 3
EOS, CHARACTERS, MASK, PAD = 0, 94, 95, 96
LENGTHS = (5, 12)  # characters + end, of the two words


def main(checkout: str, output: str) -> None:
  sys.path.insert(0, checkout)
  from openrec.modeling.decoders.mdiff_decoder import MDiffDecoder
  from openrec.modeling.encoders.svtrv2_lnconv_two33 import SVTRv2LNConvTwo33

  torch.Tensor.get_device = lambda self: self.device  # -1 on a CPU otherwise
  torch.manual_seed(0)
  encoder = SVTRv2LNConvTwo33(
    dims=DIMS,
    depths=[len(m) for m in MIXERS],
    num_heads=HEADS,
    mixer=MIXERS,
    sub_k=[[1, 1], [2, 1], [-1, -1]],
    use_pos_embed=False,
  ).eval()
  decoder = MDiffDecoder(
    in_channels=DIMS[-1],
    out_channels=CHARACTERS + 3,
    nhead=DECODER_HEADS,
    num_decoder_layers=LAYERS,
    max_len=CANVAS - 1,
    sample_k=COPIES,
    sampler_step=3,
  ).eval()
  rng = np.random.default_rng(0)
  randomise(encoder, rng)
  randomise(decoder, rng)
  with torch.no_grad():
    numbers = measure(encoder, decoder, rng)
  np.savez_compressed(output, **{k: shrink(v) for k, v in numbers.items()})
  print(f"{output}: {len(numbers)} arrays, {pathlib.Path(output).stat().st_size} bytes")


def randomise(module: torch.nn.Module, rng: np.random.Generator) -> None:
  """Draws every weight, statistic and norm, so that no part of it is an identity."""
  for name, tensor in module.state_dict().items():
    if name.endswith(("num_batches_tracked", ".pe")):
      continue
    noise = torch.from_numpy(rng.normal(size=tensor.shape).astype(np.float32))
    if "running_var" in name:
      value = 0.5 + noise.abs()
    elif "norm" in name and name.endswith("weight"):
      value = 1.0 + 0.2 * noise
    elif name == "embedding.embedding.weight":
      value = noise * tensor.shape[1] ** -0.5
    elif name == "tgt_word_prj.weight":
      value = noise * 2.0 * tensor.shape[1] ** -0.5
    elif name == "pos_embed":
      value = noise  # large, so that positions read differently
    elif tensor.ndim > 1:
      value = noise * tensor[0].numel() ** -0.5
    else:
      value = 0.1 * noise
    tensor.copy_(value)


def measure(encoder, decoder, rng) -> dict[str, torch.Tensor | np.ndarray]:
  """Inputs and outputs of all parts, and all weights, by key."""
  image, memory = draw_image(encoder, decoder, rng)
  data = draw_canvases(rng)
  labels, replaced, noisy, masked, share, length = map(torch.from_numpy, data.values())
  numbers = {f"input/{k}": v for k, v in data.items()}
  numbers["input/image"] = image.permute(0, 2, 3, 1)  # b y x c
  numbers["output/memory"] = memory
  for name, canvas in (("noisy", noisy), ("replaced", replaced)):
    logits = [
      decoder.tgt_word_prj(decoder.forward_decoding(memory, canvas[:, i]))
      for i in range(COPIES)
    ]
    numbers[f"output/logits_{name}"] = torch.stack(logits, 1)  # b r n v
  batch = (labels, replaced, noisy, masked, share, length)
  for name, weights in (("denoise", (1.0, 0.0)), ("replace", (0.0, 1.0))):
    decoder.rec_loss_weight, decoder.reflect_loss_weight = weights
    numbers[f"output/loss_{name}"] = decoder.forward_train_all(memory, batch)
  for name, decode in decoders(decoder).items():
    confidence, tokens = decode(memory).max(-1)
    numbers[f"decode/{name}_tokens"] = tokens
    numbers[f"decode/{name}_confidence"] = confidence
  for prefix, module in (("encoder", encoder), ("decoder", decoder)):
    for key, value in module.state_dict().items():
      if not key.endswith(("num_batches_tracked", ".pe")):
        numbers[f"{prefix}/{key}"] = value
  return numbers


def decoders(decoder) -> dict:
  return {
    "parallel": decoder.forward_parallel_decoding,
    "autoregressive": decoder.forward_autoregressive_decoding,
    "low_confidence": decoder.forward_low_confidence_decoding,
    "block_low_confidence": decoder.forward_semi_autoregressive_decoding,
  }


def draw_image(encoder, decoder, rng):
  """An image for which every pass of the decoders predicts an end after 3 letters.

  A row without a predicted end, or with nothing left before it, meets defects of the
  released decoders (nothing committed; 0/0) that are not to be reproduced.
  """
  passes = []
  aim_end(encoder, decoder, rng)
  forward = decoder.forward_decoding

  def spy(*args, **kwargs):
    hidden = forward(*args, **kwargs)
    passes.append(decoder.tgt_word_prj(hidden).argmax(-1))
    return hidden

  decoder.forward_decoding = spy
  try:
    for _ in range(200):
      image = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 32, 48)).astype(np.float32))
      memory = encoder(image)
      some = [v for k, v in decoders(decoder).items() if k != "autoregressive"]
      if all(usable(decode, memory, passes) for decode in some):
        return image, memory
  finally:
    decoder.forward_decoding = forward
  raise RuntimeError("no usable image found; change the seed")


def aim_end(encoder, decoder, rng, position: int = 9) -> None:
  """Points the classifier's row of the end at what the decoder thinks at `position`."""
  image = torch.from_numpy(rng.uniform(-1, 1, (8, 3, 32, 48)).astype(np.float32))
  canvas = torch.full((8, CANVAS), MASK)
  hidden = decoder.forward_decoding(encoder(image), canvas).mean(0)  # n d
  aim = hidden[position] - hidden.mean(0)
  scale = decoder.tgt_word_prj.weight[1:].norm(dim=1).max() / aim.norm()
  decoder.tgt_word_prj.weight[EOS] = 2.0 * scale * aim


def usable(decode, memory, passes) -> bool:
  passes.clear()
  decode(memory)
  return all(
    ((tokens == EOS).any(1) & (tokens[:, :3] != EOS).all(1)).all() for tokens in passes
  )


def draw_canvases(rng) -> dict[str, np.ndarray]:
  """Two words with three hidings (all, right part, some) and three replacements."""
  b = len(LENGTHS)
  labels = np.full((b, CANVAS), PAD)
  noisy = np.full((b, COPIES, CANVAS), MASK)
  replaced = np.full((b, COPIES, CANVAS), MASK)
  masked = np.zeros((b, COPIES, CANVAS), bool)
  for i, m in enumerate(LENGTHS):
    word = np.append(rng.integers(1, CHARACTERS + 1, m - 1), EOS)
    labels[i, :m] = word
    masked[i, 0, :m] = True
    masked[i, 1, m // 2 : m] = True
    masked[i, 2, rng.choice(m, m // 3, replace=False)] = True
    noisy[i, :, :m] = np.where(masked[i, :, :m], MASK, word)
    change = rng.random((COPIES, m)) < 0.5
    anything = rng.integers(0, PAD + 1, (COPIES, m))
    replaced[i, :, :m] = np.where(change, anything, word)
  length = np.array(LENGTHS)
  share = masked.sum(-1) / length[:, None]
  return {
    "labels": labels,
    "replaced": replaced,
    "noisy": noisy,
    "masked": masked,
    "share": share,
    "length": length,
  }


def shrink(value) -> np.ndarray:
  """Numbers as float32, ids as int32, masks as they are."""
  value = np.asarray(value)
  if value.dtype.kind == "f":
    return value.astype(np.float32)
  return value.astype(np.int32) if value.dtype.kind == "i" else value


if __name__ == "__main__":
  here = pathlib.Path(__file__).parent
  main(*([*sys.argv[1:], str(here / "mdiff4str.npz")][:2]))
