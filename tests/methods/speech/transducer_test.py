"""The transducer as a method: what is averaged, that it learns, both readers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toys.sounds import RATE, TEXTS, Ear, sing, start, texts_of

from mdm.methods.speech.transducer import Transducer
from mdm.nn.joint import Joint
from mdm.nn.lstm import Prediction
from mdm.nn.subsample import ConvSubsampling
from mdm.nn.transducer import transducer_loss

VOCAB = 3


def make(**changes):
  settings = {"rate": RATE, "bins": 16, "feature_norm": "utterance", **changes}
  networks = {
    "subsample": ConvSubsampling(4),
    "encoder": Ear(24),
    "prediction": Prediction(VOCAB, width=8, depth=1),
    "joint": Joint(VOCAB, width=24, chunk=8),
  }
  return Transducer(bands=0, stretches=0, **(networks | settings))


@pytest.fixture(scope="module")
def trained():
  """A recogniser of four clips, learned by heart."""
  method, batch = make(), sing()
  variables = start(method, batch)
  optimizer = optax.adam(0.02)

  @jax.jit
  def learn(params):
    def step(carry, _):
      params, state = carry

      def cost(params):
        return method.apply({"params": params}, batch, train=True)["loss"].value()

      value, slope = jax.value_and_grad(cost)(params)
      updates, state = optimizer.update(slope, state)
      return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(
      step, (params, optimizer.init(params)), None, length=150
    )
    return params, values

  params, values = learn(jax.tree.map(jnp.asarray, variables["params"]))
  return method, {"params": params}, batch, values


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_it_learns_to_write_down_tones(trained, decoder):
  method, variables, batch, values = trained
  assert values[0] > 2 and values[-1] < 0.2
  found = jax.jit(
    lambda: method.apply(variables, batch, method="transcribe", decoder=decoder, beam=3)
  )()
  assert texts_of(found) == list(TEXTS)
  nats = np.asarray(_nats(method, variables, batch))
  assert (-np.asarray(found.score) >= nats - 1e-3).all()  # parts of all alignments
  if decoder == "greedy":
    for row, valid in zip(
      np.asarray(found.frames), np.asarray(found.valid), strict=True
    ):
      assert (np.diff(row[valid]) >= 0).all() and (row[valid] >= 0).all()


def _nats(method, variables, batch):
  """The loss of each clip, made of the method's parts."""

  def parts(method):
    encoded, frames = method.listen(batch, train=False)
    tokens = jnp.where(batch["valid"], batch["tokens"], VOCAB)
    predicted = method.prediction(tokens, train=False)
    blank, token = method.joint(encoded, predicted, tokens)
    return transducer_loss(blank, token, frames, jnp.asarray(batch["valid"])).nats

  return jax.jit(lambda: method.apply(variables, method=parts))()


def test_the_loss_is_the_mean_over_all_tokens_or_clips_that_count(trained):
  method, variables, batch, _ = trained
  nats = np.asarray(_nats(method, variables, batch))
  weight = np.array([1, 0, 1, 1], np.float32)
  batch = batch | {"weight": weight}
  tokens = batch["valid"].sum(-1)
  for per, counts in (("token", tokens), ("clip", np.ones(4))):
    method = make(per=per)
    found = jax.jit(lambda m=method: m.apply(variables, batch, train=False))()["loss"]
    wanted = (nats * weight).sum() / (counts * weight).sum()
    assert float(found.value()) == pytest.approx(wanted, rel=1e-4)


def test_a_clip_without_a_frame_counts_for_nothing(trained):
  method, variables, batch, _ = trained
  length = batch["audio_length"].copy()
  length[1] = 0
  apply = jax.jit(lambda batch: method.apply(variables, batch, train=False))
  found = apply(batch | {"audio_length": length})
  alone = apply(batch | {"weight": np.array([1, 0, 1, 1], np.float32)})
  assert float(found["transducer/infeasible"].value()) == 0.25
  assert float(found["loss"].total) == pytest.approx(
    float(alone["loss"].total), rel=1e-5
  )


def test_a_map_with_batch_norm_may_lie_behind_the_encoder():
  method, batch = make(project=5), sing(((1, 2), (0,)))
  variables = start(method, batch)
  listened, updates = jax.jit(
    lambda: method.apply(
      variables, batch, train=True, method="listen", mutable=["batch_stats"]
    )
  )()
  encoded, frames = listened
  assert encoded.shape[-1] == 5
  valid = np.asarray(encoded)[np.asarray(frames)]
  np.testing.assert_allclose(valid.mean(0), 0, atol=1e-4)
  assert jax.tree.leaves(updates["batch_stats"])


def test_both_networks_must_have_the_same_tokens():
  method = make(prediction=Prediction(VOCAB + 1, width=4, depth=1))
  with pytest.raises(
    ValueError, match=r"prediction.vocab_size = 4 and .* = 3; set both"
  ):
    _ = method.vocab_size
  assert make().vocab_size == VOCAB
