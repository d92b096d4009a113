"""The package in Python: train a config, evaluate a run, load it and read images."""

from mdm.api.benching import bench_reader
from mdm.api.data import build_data, check_data, check_image, list_data, show_data
from mdm.api.exporting import export
from mdm.api.model import ImageLike, Model, Reading, load
from mdm.api.reading import plot, predict
from mdm.api.runs import (
  ClaimReport,
  bench_rendering,
  bench_step,
  claim,
  evaluate,
  train,
)

__all__ = [
  "ClaimReport",
  "ImageLike",
  "Model",
  "Reading",
  "bench_reader",
  "bench_rendering",
  "bench_step",
  "build_data",
  "check_data",
  "check_image",
  "claim",
  "evaluate",
  "export",
  "list_data",
  "load",
  "plot",
  "predict",
  "show_data",
  "train",
]
