r"""w2v-BERT XL (0.6B) as published: 12 blocks of contrast, 12 of naming.

  mdm train configs/speech/w2v_bert_xl.py --workdir runs/w2v_bert_xl \
    --set data.path=LIBRI_LIGHT

XXL (1.0B), with the optimiser that it was published with: \
  --set model.encoder.second.depth=30 --set optimizer.name=adafactor

  mdm compile configs/speech/w2v_bert_xl.py --topology v5p:4x4x4 \
    --set model.encoder.second.depth=30 --set optimizer.name=adafactor

Hardware: a TPU pod; unlabelled 60,000 h, crops of 32 s, 2048 of them a step. Published
word error rates after fine-tuning on 960 h, no language model: XL 1.5 / 2.9 (clean and
other), XXL 1.5 / 2.8. Not measured here. Unpublished, and chosen here: the channels of
the subsampling (32, lingvo's recipe), the width of what is compared (768, fairseq2's),
what stands in hidden frames (BEST-RQ's noise); of Adafactor, beside its two decays:
that rates are absolute, as Adam's, and no step is longer than 1 in root mean square.

Of eight devices and as many crops a step each holds, in float32, 0.9 GB of state for XL
and, with Adafactor, 1.0 GB for XXL (tests/training/compiling_test.py prints it).
"""

from mdm.training import config

BLOCKS = {
  "name": "conformer.Conformer",
  "width": 1024,
  "depth": 12,
  "heads": 8,
  "kernel": 5,
  "positions": "none",
  "window": (64, 64),
  "norm": "batch",
  "scan": True,
  "remat": "dots",
}


def get_config():
  cfg = config.base()
  cfg.method = {"name": "speech.w2v_bert", "rate": 16_000, "bins": 80}
  cfg.model = {
    "subsample": {"name": "subsample.ConvSubsampling", "channels": 32},
    "encoder": {"name": "tandem.Tandem", "first": {**BLOCKS}, "second": {**BLOCKS}},
    "quantizer": {"name": "quantizer.GumbelQuantizer", "entries": 1024, "width": 1024},
  }
  cfg.data = {
    "name": "speech",
    "path": "librilight/unlab-60k",
    "tokens": "none",
    "rate": 16_000,
    "crop_seconds": 32.0,
    "buckets": (32.0,),
  }
  cfg.train = {"steps": 400_000, "batch": 2048}
  cfg.optimizer = {
    "learning_rate": 2e-3,
    "schedule": "rsqrt",
    "warmup": 25_000,
    "weight_decay": 0.0,
    "b2": 0.98,
  }
  cfg.sharding = {"preset": "fsdp"}
  return cfg
