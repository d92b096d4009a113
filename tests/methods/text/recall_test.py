"""Recall as a method: what counts in loss and accuracy, and that it learns."""

import functools

import jax
import numpy as np
import optax
import pytest
from toys.mixing import OneHead

from mdm.data.recall import RecallSettings, load
from mdm.methods.text.recall import Recall
from mdm.nn.zoology import Zoology

V = 24
TASK = load(RecallSettings(length=16, vocab_size=V, pairs=2), "train")


def batch_of(first, count=8):
  batch = TASK.fetch(np.arange(first, first + count))
  return batch | {"weight": np.ones(count, np.float32)}


@functools.cache
def model():
  method = Recall(Zoology(V, OneHead(), width=32, embed_dropout=0.0))
  values = jax.jit(functools.partial(method.init, train=False))(
    jax.random.key(0), batch_of(0)
  )
  values = jax.tree.map(lambda x: 3 * x, values)
  return method, values, jax.jit(functools.partial(method.apply, train=False))


def test_loss_and_accuracy_are_those_of_the_questions():
  method, values, call = model()
  batch = batch_of(0)
  means = call(values, batch)
  logits = method.apply(values, batch, method="logits")
  log_p = np.asarray(jax.nn.log_softmax(logits))
  rows, questions = np.indices(batch["answers"].shape)
  nats = -log_p[rows, questions, batch["answers"]]
  np.testing.assert_allclose(means["loss"].value(), nats.mean(), rtol=1e-5)
  right = log_p.argmax(-1) == batch["answers"]
  np.testing.assert_allclose(means["accuracy"].value(), right.mean(1).mean())
  assert means["loss"].weight == 16 and means["accuracy"].weight == 8


def test_rows_of_no_weight_do_not_count():
  _, values, call = model()
  batch = batch_of(0)
  part = call(values, batch | {"weight": np.float32([1, 1, 0, 0, 0, 0, 0, 0])})
  alone = call(
    values, {k: np.tile(x[:2], (4,) + (1,) * (x.ndim - 1)) for k, x in batch.items()}
  )
  for name in ("loss", "accuracy"):
    np.testing.assert_allclose(part[name].value(), alone[name].value(), rtol=1e-5)


def test_answers_are_judged_one_by_one():
  method, values, call = model()
  batch = batch_of(0)
  is_right, is_asked = method.apply(values, batch, method="answer")
  assert is_asked.all() and is_right.shape == (8, 2)
  assert is_right.mean() == pytest.approx(
    float(call(values, batch)["accuracy"].value())
  )


def test_it_learns_to_recall():
  steps, rows, classes = 100, 32, 16
  task = load(RecallSettings(length=12, vocab_size=classes, pairs=2), "train")
  batches = jax.tree.map(
    lambda x: x.reshape(steps, rows, -1), task.fetch(np.arange(steps * rows))
  )
  method = Recall(Zoology(classes, OneHead(), width=32, embed_dropout=0.0))
  optimizer = optax.adam(1e-2)

  def step(carry, batch):
    values, state = carry

    def loss(values):
      means = method.apply(values, batch, train=False)
      return means["loss"].value(), means["accuracy"].value()

    grads, right = jax.grad(loss, has_aux=True)(values)
    updates, state = optimizer.update(grads, state)
    return (optax.apply_updates(values, updates), state), right

  @jax.jit
  def train(batches):
    first = jax.tree.map(lambda x: x[0], batches)
    values = method.init(jax.random.key(1), first, train=False)
    return jax.lax.scan(step, (values, optimizer.init(values)), batches)[1]

  found = np.asarray(train(batches))
  assert found[:10].mean() < 0.45 and found[-10:].mean() > 0.9
