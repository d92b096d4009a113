"""Reference problems, by the rules that any of them must keep."""

import numpy as np
import pytest

from mdm.evaluation.steps.problems import MODULES, find_problem, problem_config
from mdm.methods.base import Method
from mdm.training import build, loop


@pytest.fixture(params=MODULES)
def found(request):
  problem = find_problem(request.param)
  cfg = problem_config(problem, ["train.batch=16"])
  return request.param, problem, cfg, build.build_method(cfg)


def test_a_problem_is_one_of_its_method(found):
  name, _, cfg, method = found
  assert cfg.method.name == name and isinstance(method, Method)
  loop.read_settings(cfg)


def test_its_batch_is_noise_of_the_size_that_was_asked_for(found):
  _, problem, cfg, _ = found
  batch, again = problem.draw_batch(cfg), problem.draw_batch(cfg)
  assert {len(x) for x in batch.values()} == {16}
  for name, x in batch.items():
    assert isinstance(x, np.ndarray)
    np.testing.assert_array_equal(x, again[name])


def test_its_parts_are_shares_of_the_first(found):
  _, problem, cfg, method = found
  parts = problem.parts(method, cfg)
  assert len({part.name for part in parts}) == len(parts)
  assert parts[0].share == 1 and all(0 < part.share <= 1 for part in parts)


def test_a_method_without_a_problem_is_named_with_the_nearest():
  with pytest.raises(ValueError, match=r"'image\.mea' is unknown.*'image\.mae'"):
    find_problem("image.mea")


def test_settings_of_a_problem_can_be_changed_but_not_invented():
  problem = find_problem("image.mae")
  assert problem_config(problem, ["method.mask_ratio=0.5"]).method.mask_ratio == 0.5
  with pytest.raises(ValueError, match="is not a section"):
    problem_config(problem, ["optimiser.clip=1"])
