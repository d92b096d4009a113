"""What accelerators can do at most, as their makers publish it, per device of JAX.

              bf16   memory  bandwidth   links, one way   network
              TFLOP/s   GiB       GB/s   and axis, GB/s      GB/s
  v4             275     32       1228              100     3.125
  v5e            197     16        819              100     3.125
  v5p            459     95       2765              200      6.25
  v6e            918     32       1640              200      12.5
  tpu7x         1154     96       3690              200      12.5   (half a chip)
  a100           312     80       2039              300        25
  h100           989     80       3350              450        50
  h200           989    141       4800              450        50

An axis of a torus has two links, one each way round; a GPU's links reach the eight of
its machine. The network joins slices and machines.

Source: pages "TPU v4", "v5e", "v5p", "v6e", "Ironwood" of cloud.google.com/tpu/docs;
NVIDIA's data sheets. Networks are those of the usual machines.
"""

from typing import NamedTuple

from mdm.training.config import unknown_key

GIB = 2**30


class Chip(NamedTuple):
  """What one device can do at most, in FLOP/s, bytes and bytes/s.

  Attributes:
    flops: of products in bfloat16.
    memory: bytes.
    bandwidth: of the memory.
    link: that a device sends along one mesh axis within a slice or machine.
    network: that a device sends to other slices or machines.
  """

  flops: float
  memory: float
  bandwidth: float
  link: float
  network: float


CHIPS = {
  name: Chip(flops * 1e12, gib * GIB, rate * 1e9, link * 1e9, network * 1e9)
  for name, flops, gib, rate, link, network in (
    ("v4", 275, 32, 1_228, 100, 3.125),
    ("v5e", 197, 16, 819, 100, 3.125),
    ("v5p", 459, 95, 2_765, 200, 6.25),
    ("v6e", 918, 32, 1_640, 200, 12.5),
    ("tpu7x", 1_154, 96, 3_690, 200, 12.5),
    ("a100", 312, 80, 2_039, 300, 25),
    ("h100", 989, 80, 3_350, 450, 50),
    ("h200", 989, 141, 4_800, 450, 50),
  )
}


def find_chip(name: str) -> Chip:
  """A chip by the name that a topology has before its colon.

  Raises:
    ValueError: none of that name; the error names the nearest.
  """
  if name not in CHIPS:
    raise ValueError(unknown_key(name, CHIPS, "a chip"))
  return CHIPS[name]


def chip_of_kind(device_kind: str) -> Chip | None:
  """The chip by the name that JAX gives its device ("TPU v5 lite"); None if unknown."""
  kind = device_kind.lower().replace("tpu ", "").replace(" lite", "e")
  kind = "v5p" if kind == "v5" else kind
  return next((chip for name, chip in CHIPS.items() if name in kind), None)
