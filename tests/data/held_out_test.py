import pytest

from mdm.data.held_out import is_held_out

NAMES = [f"{k}.png" for k in range(4_000)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_about_the_share_is_held_out(share):
  held = sum(is_held_out(name, share=share) for name in NAMES)
  assert abs(held - share * 4_000) <= 5 * (4_000 * share * (1 - share)) ** 0.5


def test_a_larger_share_holds_the_same_and_more():
  few = {n for n in NAMES if is_held_out(n, share=0.1)}
  assert few < {n for n in NAMES if is_held_out(n, share=0.3)}


def test_seeds_hold_out_different_names_and_case_does_not_matter():
  first, second = ({n for n in NAMES if is_held_out(n, seed=s)} for s in (0, 1))
  assert 0 < len(first & second) < 0.3 * len(first)
  assert all(is_held_out(n.upper()) for n in first)
