"""Names what an image shows: fine-tuning, linear probing, or training from scratch.

  features = norm(pool(encoder(image)));  p = softmax(W features + b)
  loss = -sum_k target_k log p_k

The target is the label, smoothed, and mixed where images are mixed. What a training is
called depends on two settings alone: `init` (start from a pretrained encoder) and
`trains` ("head" leaves the encoder as it is).

Source: the recipes of *Masked Autoencoders Are Scalable Vision Learners*, He et al.,
2022, appendix A.1 and A.2, and the authors' code.
Differences: in probing the encoder runs as in evaluation, so that nothing in it is
dropped; its normal draws for the head's weights are not cut at +-2.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mdm.masks.choices import check_choice
from mdm.methods.base import Mean, mean_of
from mdm.methods.image.base import Batch, ImageMethod, pool_tokens
from mdm.nn.augment import Images
from mdm.nn.layers import LayerNorm, Linear
from mdm.nn.mix import mix_batch, random_erasing, soft_labels

NORMS = ("layer", "batch")
TRAINS = ("all", "head")


class Classify(ImageMethod, kw_only=True):
  """A classifier on any encoder of images.

  Streams: `augment`, `dropout`. Parameters: those of `encoder`, `norm` and `head`.

  Attributes:
    encoder: images to tokens [b t d], maps [b y x d] or vectors [b d].
    num_classes: how many there are.
    pool: "mean" of patches or places, or "cls", the class token.
    norm: of the pooled features: "layer" (published for fine-tuning, with
      `has_norm` False in the encoder), "batch", without scale and bias (published for
      probing, with the encoder's own norm kept), or None.
    trains: "all", or "head" for all but the encoder.
    head_deviation: of the head's first weights; published 2e-5, in probing 0.01.
    smoothing: share of a label's mass that goes to all classes alike.
    mixup, cutmix: see `nn.mix.mix_batch`; published 0.8 and 1.0; 0 for none.
    erasing: share of images of which a box is replaced by noise; published 0.25.
  """

  num_classes: int
  pool: str = "mean"
  norm: str | None = "layer"
  trains: str = "all"
  head_deviation: float = 2e-5
  smoothing: float = 0.0
  mixup: float = 0.0
  cutmix: float = 0.0
  erasing: float = 0.0

  def __call__(self, batch: Batch, *, train: bool) -> dict[str, Mean]:
    """`loss`: cross entropy in nats; `accuracy`: share of labels that come first."""
    image = self.prepare(batch, train=train)  # b y x c
    label = jnp.asarray(batch["label"])  # b
    smoothing = self.smoothing if train else 0.0
    target = soft_labels(label, self.num_classes, smoothing=smoothing)  # b m
    if train:
      image, target = self.mix(batch, image, target)
    logits = self.logits(image, train=train)  # b m
    nats = -(target * nn.log_softmax(logits)).sum(-1)  # b
    weight = self.weight(batch)
    is_right = (logits.argmax(-1) == label).astype(jnp.float32)
    return {"loss": mean_of(nats, weight), "accuracy": mean_of(is_right, weight)}

  def mix(
    self, batch: Batch, image: Images, target: Float[Array, "b m"]
  ) -> tuple[Images, Float[Array, "b m"]]:
    """Parts of images erased, then each mixed with another of the (micro-)batch."""
    if self.erasing:
      image = random_erasing(self.keys(batch, "augment"), image, rate=self.erasing)
    key = self.make_rng("dropout")
    return mix_batch(key, image, target, mixup=self.mixup, cutmix=self.cutmix)

  @nn.compact
  def logits(self, image: Images, *, train: bool) -> Float[Array, "b m"]:
    """What precedes the softmax."""
    self._check()
    is_probe = self.trains == "head"
    tokens = self.encoder(image, train=train and not is_probe)
    has_cls = getattr(self.encoder, "has_cls", False)
    x = pool_tokens(tokens, self.pool, has_cls=has_cls).astype(jnp.float32)  # b d
    x = jax.lax.stop_gradient(x) if is_probe else x
    if self.norm == "layer":
      x = LayerNorm(name="norm")(x)
    if self.norm == "batch":
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-6,
        use_scale=False,
        use_bias=False,
        name="norm",
      )(x)
    start = nn.initializers.normal(self.head_deviation)
    axes = ("embed", None)
    head = Linear((self.num_classes,), axes, kernel_init=start, name="head")
    return head(x)

  def _check(self) -> None:
    if self.norm is not None:
      check_choice("method.norm", self.norm, NORMS)
    check_choice("method.trains", self.trains, TRAINS)
    for name in ("smoothing", "erasing"):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(
          f"method.{name} = {getattr(self, name)} lies outside [0, 1]; write 0.1 for "
          "10%."
        )

  def trainable(self, path: str) -> bool:
    """All parameters, or those outside of the encoder."""
    return self.trains == "all" or not path.startswith("encoder/")

  def classify(self, batch: Batch) -> Float[Array, "b m"]:
    """Probability of each class."""
    image = self.prepare(batch, train=False)
    return nn.softmax(self.logits(image, train=False))
