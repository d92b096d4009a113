import numpy as np
import pytest

from mdm.evaluation.attention_floor import (
  KNOWN,
  Case,
  Rates,
  both_work,
  count_pairs,
  floor_s,
  forward_work,
  measure_rates,
)

H200 = KNOWN["NVIDIA H200", "bfloat16"]


@pytest.mark.parametrize(("width", "chunk"), [(3, 4), (12, 4), (50, 6)])
def test_pairs_are_those_that_the_masks_have(width, chunk):
  case = Case(1, 1, 1, 12, 8, width)
  row, column = np.ogrid[:12, :12]
  window = (column <= row) & (column > row - width)
  assert count_pairs(case, "ideal") == window.sum()
  assert count_pairs(case, "dense") == (column <= row).sum()
  assert window.sum() <= count_pairs(case, "chunks", chunk) <= (column <= row).sum()


@pytest.mark.parametrize(
  ("length", "width", "dense", "ideal", "chunks"),
  [
    (4_096, 1_024, 0.087, 0.038, 0.065),
    (8_192, 1_024, 0.348, 0.082, 0.130),
    (32_768, 1_024, 5.57, 0.343, 0.522),
    (131_072, 2_048, 89.1, 2.76, 4.18),
  ],
)
def test_floors_on_an_h200_are_those_worked_out_by_hand(
  length, width, dense, ideal, chunks
):
  case = Case(1, 16, 8, length, 128, width)
  found = [
    1e3 * floor_s(forward_work(case, function, 2, width), H200)
    for function in ("dense", "ideal", "chunks")
  ]
  np.testing.assert_allclose(found, [dense, ideal, chunks], rtol=0.02)


def test_gathered_keys_are_read_written_and_read():
  case = Case(1, 16, 8, 4_096, 128, 1_024)
  whole = forward_work(case, "ideal", 2).bytes
  gathered = forward_work(case, "chunks", 2, 1_024).bytes - whole
  assert gathered == 3 * 2 * 2 * 8 * 4_096 * 128 * 2  # width + chunk = 2 chunk
  assert both_work(forward_work(case, "ideal", 2)).flops == pytest.approx(
    3.5 * forward_work(case, "ideal", 2).flops
  )


def test_the_scarcest_rate_sets_the_floor():
  work = forward_work(Case(1, 1, 1, 64, 8, 8), "ideal", 4)
  for scarce in range(3):
    rates = Rates(*(1.0 if k == scarce else 1e30 for k in range(3)), "made up")
    assert floor_s(work, rates) == work[scarce]


def test_rates_of_this_device_are_measured():
  rates = measure_rates("bfloat16", side=16, values=1_024)
  assert min(rates[:3]) > 0 and rates.source.startswith("measured: 16^2 bfloat16")
