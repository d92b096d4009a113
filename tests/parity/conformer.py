"""The original conformer's numbers, and its weights under our names."""

import functools
import pathlib

import numpy as np

LENGTHS, DEPTH, WIDTH, HEADS = (40, 17), 2, 16, 4
LINEAR = {
  "ffn1.intermediate_dense": "mlp_first/up",
  "ffn1.output_dense": "mlp_first/down",
  "ffn2.intermediate_dense": "mlp_last/up",
  "ffn2.output_dense": "mlp_last/down",
}
NORMS = {
  "ffn1_layer_norm": "norm_mlp_first",
  "self_attn_layer_norm": "norm_attention",
  "ffn2_layer_norm": "norm_mlp_last",
  "final_layer_norm": "norm",
  "conv_module.layer_norm": "conv/norm_in",
  "conv_module.batch_norm": "conv/norm",
}


@functools.cache
def numbers() -> dict[str, np.ndarray]:
  """Everything stored by make_conformer.py; keys in README.md."""
  with np.load(pathlib.Path(__file__).with_name("conformer.npz")) as file:
    return dict(file)


def params(folder: str = "weights/") -> dict:
  """The stored weights, or their gradients, by paths of ours.

  The original's convolutions of one frame have no bias: ours are 0.
  """
  found = {}
  for i in range(DEPTH):
    block = of_block(f"{folder}{i}.")
    found |= {f"block_{i}/{path}": array for path, array in block.items()}
  return found


def of_block(start: str) -> dict:
  """One block's weights."""
  stored = numbers()
  own = {k.removeprefix(start): v for k, v in stored.items() if k.startswith(start)}
  found, head = {}, (HEADS, WIDTH // HEADS)
  for theirs, ours in LINEAR.items():
    found[f"{ours}/kernel"] = own[f"{theirs}.weight"].T
    found[f"{ours}/bias"] = own[f"{theirs}.bias"]
  for theirs, ours in NORMS.items():
    found[f"{ours}/scale"] = own[f"{theirs}.weight"]
    found[f"{ours}/bias"] = own[f"{theirs}.bias"]
  parts = [f"self_attn.linear_{x}" for x in "qkv"]
  kernels = [own[f"{x}.weight"].T.reshape(WIDTH, *head) for x in parts]
  biases = [own[f"{x}.bias"].reshape(head) for x in parts]
  found["attention/qkv/kernel"] = np.stack(kernels, axis=1)  # d 3 h k
  found["attention/qkv/bias"] = np.stack(biases)
  out = own["self_attn.linear_out.weight"].T
  found["attention/out/kernel"] = out.reshape(*head, WIDTH)
  found["attention/out/bias"] = own["self_attn.linear_out.bias"]
  places = own["self_attn.linear_pos.weight"].T
  found["attention/position/kernel"] = places.reshape(WIDTH, *head)
  found["attention/content_bias"] = own["self_attn.pos_bias_u"]
  found["attention/position_bias"] = own["self_attn.pos_bias_v"]
  gate = own["conv_module.pointwise_conv1.weight"][..., 0]  # 2d d
  found["conv/gate/kernel"] = gate.T.reshape(WIDTH, 2, WIDTH)
  found["conv/gate/bias"] = np.zeros((2, WIDTH), np.float32)
  found["conv/depthwise"] = own["conv_module.depthwise_conv.weight"][:, 0].T  # k d
  found["conv/out/kernel"] = own["conv_module.pointwise_conv2.weight"][..., 0].T
  found["conv/out/bias"] = np.zeros(WIDTH, np.float32)
  return found


def statistics() -> dict:
  """The stored running moments, by paths of ours."""
  stored = numbers()
  return {
    f"block_{i}/conv/norm/{ours}": stored[
      f"weights/{i}.conv_module.batch_norm.running_{ours}"
    ]
    for i in range(DEPTH)
    for ours in ("mean", "var")
  }
