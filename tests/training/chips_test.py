import pytest

from mdm.training.chips import CHIPS, chip_of_kind, find_chip


@pytest.mark.parametrize(
  ("kind", "name"),
  [
    ("TPU v4", "v4"),
    ("TPU v5 lite", "v5e"),
    ("TPU v5", "v5p"),
    ("TPU v5p", "v5p"),
    ("TPU v6 lite", "v6e"),
    ("TPU7x", "tpu7x"),
    ("NVIDIA A100-SXM4-80GB", "a100"),
    ("NVIDIA H100 80GB HBM3", "h100"),
    ("NVIDIA H200", "h200"),
    ("cpu", None),
  ],
)
def test_a_device_is_known_by_the_name_that_jax_gives_it(kind, name):
  assert chip_of_kind(kind) is (CHIPS[name] if name else None)


def test_an_unknown_chip_brings_the_nearest_name():
  with pytest.raises(ValueError, match="v5e"):
    find_chip("v5ee")
