import pytest
from toys import joint, masked

from mdm.evaluation.verbs import check_verb, has_verb
from mdm.methods.diffusion.mdlm import MDLM


def test_a_method_that_can_is_let_through():
  check_verb(MDLM(joint.Exact()), "sample")
  assert has_verb(MDLM(joint.Exact()), "score")


def test_one_that_cannot_is_named_with_what_it_can():
  with pytest.raises(ValueError, match=r"mdlm\.MDLM cannot read images.*mdm sample"):
    check_verb(MDLM(joint.Exact()), "predict")


def test_one_that_can_nothing_is_to_be_replaced():
  with pytest.raises(ValueError, match="cannot write text; load a run of another"):
    check_verb(masked.ToyMasked(masked.Mixer()), "sample")
