"""Problems of attention: shapes that are parsed, scores that are drawn."""

import jax.numpy as jnp
import numpy as np
import pytest

from mdm.evaluation.attention.floor import Case
from mdm.evaluation.attention.problems import (
  CLUSTER,
  PATTERNS,
  draw_problem,
  parse_case,
)

CASE = Case(1, 2, 1, 256, 8, 8)


def test_a_shape_is_six_numbers():
  assert parse_case("1,4,2,64,8,16", "recency") == Case(1, 4, 2, 64, 8, 16, "recency")


@pytest.mark.parametrize(
  ("shape", "answer"),
  [
    ("1,2", "must be six numbers B,H,K,N,D,W"),
    ("1,2,1,64,8,-4", "must be six numbers"),
    ("1,2,1,64,8,0", "W = 0 in shape '1,2,1,64,8,0' must be 1 or more"),
    ("1,3,2,64,8,4", "2 key heads do not divide 3 heads"),
    ("1,2,1,3000000000,8,4", "N = 3000000000 .* does not fit int32"),
  ],
)
def test_shapes_that_make_no_sense_are_refused(shape, answer):
  with pytest.raises(ValueError, match=answer):
    parse_case(shape)


def test_patterns_differ_in_their_scores_alone():
  found = {
    pattern: draw_problem(CASE._replace(pattern=pattern), "float32")
    for pattern in PATTERNS
    if pattern != "learned"
  }
  assert (jnp.diff(found["recency"].score) > 0).all()
  clustered = found["clustered"].score.reshape(1, 1, -1, CLUSTER)
  assert (clustered == clustered[..., :1]).all() and len(np.unique(clustered)) == 4
  assert jnp.array_equal(found["iid"].key, found["recency"].key)


def test_a_step_asks_with_the_last_token_alone_of_the_same_keys():
  case = parse_case("2,4,2,64,8,16", is_step=True)
  step, whole = (
    draw_problem(x, "float32") for x in (case, case._replace(is_step=False))
  )
  assert step.query.shape == step.d_out.shape == (2, 1, 4, 8)
  assert jnp.array_equal(step.key, whole.key)
  assert jnp.array_equal(step.score, whole.score)


def test_learned_heads_are_dealt_out_in_turn_and_repeated_to_the_length():
  learned = np.stack([np.arange(6), 10 + np.arange(6)]).astype(np.float32)
  case = Case(2, 4, 2, 8, 8, 4, "learned")
  score = np.asarray(draw_problem(case, "float32", learned).score)
  assert score.shape == (2, 2, 8)
  assert score[0].tolist() == [
    [0, 1, 2, 3, 4, 5, 0, 1],
    [10, 11, 12, 13, 14, 15, 10, 11],
  ]
  assert score[1, 0].tolist() == [2, 3, 4, 5, 0, 1, 2, 3]  # goes on where row 0 ended
