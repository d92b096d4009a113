"""The package in Python: train a config, evaluate a run, load it and read or write."""

from mdm.api.attending import bench_attention, compile_attention
from mdm.api.benching import bench_reader
from mdm.api.compiling import compile_config, lower_config
from mdm.api.confidences import score_frames
from mdm.api.data import build_data, check_data, check_image, list_data, show_data
from mdm.api.encoding_benching import bench_encode
from mdm.api.exporting import export
from mdm.api.hearing import Transcription
from mdm.api.hearing_benching import bench_hearing
from mdm.api.layouts import import_weights
from mdm.api.model import Model, load
from mdm.api.plotting import plot, plot_masks, sample_images
from mdm.api.rates import find_rate
from mdm.api.reading import predict
from mdm.api.results import add_result, check_results, write_results
from mdm.api.runs import (
  ClaimReport,
  bench_frontend,
  bench_problem,
  bench_rendering,
  bench_resume,
  bench_speech,
  bench_step,
  claim,
  evaluate,
  train,
)
from mdm.api.scoring import TextScore
from mdm.api.texts import bench_sampler, bench_times, sample, score
from mdm.api.vectors import encode
from mdm.api.words import ImageLike, Reading
from mdm.api.writing import Sample

__all__ = [
  "ClaimReport",
  "ImageLike",
  "Model",
  "Reading",
  "Sample",
  "TextScore",
  "Transcription",
  "add_result",
  "bench_attention",
  "bench_encode",
  "bench_frontend",
  "bench_hearing",
  "bench_problem",
  "bench_reader",
  "bench_rendering",
  "bench_resume",
  "bench_sampler",
  "bench_speech",
  "bench_step",
  "bench_times",
  "build_data",
  "check_data",
  "check_image",
  "check_results",
  "claim",
  "compile_attention",
  "compile_config",
  "encode",
  "evaluate",
  "export",
  "find_rate",
  "import_weights",
  "list_data",
  "load",
  "lower_config",
  "plot",
  "plot_masks",
  "predict",
  "sample",
  "sample_images",
  "score",
  "score_frames",
  "show_data",
  "train",
  "write_results",
]
