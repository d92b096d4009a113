import numpy as np
import pytest

from mdm.evaluation.attention.floor import (
  Case,
  both_work,
  count_pairs,
  floor_s,
  forward_work,
)
from mdm.evaluation.rates import KNOWN, Rates

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


def test_gradients_take_two_and_a_half_times_the_products_and_exponentials_again():
  forward = forward_work(Case(1, 16, 8, 4_096, 128, 1_024), "ideal", 2)
  flops, moved, exps = both_work(forward)
  assert flops == pytest.approx(3.5 * forward.flops)
  assert (moved, exps) == (3 * forward.bytes, 2 * forward.exps)


def test_the_scarcest_rate_sets_the_floor():
  work = forward_work(Case(1, 1, 1, 64, 8, 8), "ideal", 4)
  for scarce in range(3):
    rates = Rates(*(1.0 if k == scarce else 1e30 for k in range(3)), "made up")
    assert floor_s(work, rates) == work[scarce]


@pytest.mark.parametrize(("length", "keys"), [(100_000, 256), (100, 100)])
def test_a_step_reads_the_keys_and_values_it_sees_once_and_dense_all(length, keys):
  case = Case(32, 16, 8, length, 128, 256, is_step=True)
  row = 2 * 32 * 128  # bytes of one head's number of each row
  ours, dense = (forward_work(case, function, 2) for function in ("ideal", "dense"))
  assert dense.bytes == row * (2 * 16 + 2 * 8 * length)
  assert ours.bytes == row * (2 * 16 + 2 * 8 * keys) + 4 * 32 * 8 * keys
  assert (ours.exps, dense.exps) == (32 * 16 * keys, 32 * 16 * length)
  assert dense.flops == 4 * 128 * dense.exps


def test_chunks_cost_no_more_pairs_than_dense_attention_has():
  case = Case(1, 1, 1, 12, 8, 12)
  assert count_pairs(case, "chunks", 12) == count_pairs(case, "dense") == 78
