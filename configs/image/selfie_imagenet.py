r"""Multiple choice of patches on ImageNet: the first three groups of a ResNet-50.

  mdm train configs/image/selfie_imagenet.py --workdir runs/selfie_imagenet

12 of 49 patches of 32 x 32 pixels are hidden. Fine-tune with model.encoder.groups=4 and
init.parts of encoder/stem and encoder/stage_1 to encoder/stage_3.

Hardware: a TPU v5e-16 or 8 GPUs. Published: 46.7% of images right with 5% of the labels
after fine-tuning, 35.6% without pretraining. Momentum and 120k steps are from memory of
the paper; rate, warm-up and decay are those of a public code for CIFAR-10. Not measured
here.
"""

from mdm.training import config


def get_config():
  cfg = config.base()
  cfg.method = {"name": "image.selfie", "patch": 32, "mask_ratio": 0.25}
  cfg.model = {
    "encoder": {"name": "resnet.ResNet", "groups": 3},
    "pooling": {
      "name": "transformer.Transformer",
      "depth": 3,
      "heads": 32,
      "mlp_ratio": 0.625,
      "dropout": 0.1,
      "norm_first": False,
    },
  }
  cfg.data = {
    "name": "tfds",
    "tfds_name": "imagenet2012",
    "image_size": (224, 224),
    "crop": "random",
  }
  cfg.train = {"steps": 120_000, "batch": 512}
  cfg.optimizer = {
    "name": "sgd",
    "learning_rate": 0.1,
    "scale_batch": 128,
    "warmup": 1_000,
    "weight_decay": 1e-4,
    "b1": 0.9,
    "nesterov": True,
    "clip": 0.0,
  }
  return cfg
