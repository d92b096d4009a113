"""Commands of models that write: sample, score."""

import argparse
from pathlib import Path
from typing import Any

from mdm.cli.options import add_overrides, add_run
from mdm.cli.output import write_result


def add_commands(add: Any) -> None:
  """Their parsers; `add` makes one with the options that all share."""
  sample = add(
    "sample",
    sample_command,
    "write texts that begin with a prompt or fill a template's holes, or draw images",
    'mdm sample runs/text --prompt "in the beginning " --show-steps',
    'mdm sample runs/text --template "in the beginning [MASK:3] created" --num 3',
    "mdm sample runs/md4_cifar10 --out grid.png",
  )
  add_run(sample)
  add_sampling(sample)
  sample.add_argument("--num", type=int, help="texts (default: 1) or images (16)")
  sample.add_argument(
    "--out", metavar="FILE", help="picture of the images that a model of pixels draws"
  )
  sample.add_argument(
    "--show-steps", action="store_true", help="print the text after every pass"
  )
  score = add(
    "score",
    score_command,
    "tell how likely texts are (bits per character, perplexity, with standard errors), "
    "or write how sure a recogniser is of each frame of recordings",
    "mdm score runs/text book.txt --json scores.json",
    "mdm score runs/ctc_prompts --out sure.npz",
  )
  add_run(score)
  score.add_argument("files", nargs="*", metavar="FILE", help="texts in UTF-8")
  score.add_argument(
    "--text", action="append", default=[], help="a text itself, instead of a file"
  )
  score.add_argument("--prompt", help="what each text follows, given and not scored")
  score.add_argument(
    "--strata",
    type=int,
    default=32,
    help="network passes to each window of an upper bound (default: 32)",
  )
  score.add_argument("--seed", type=int, default=0, help="of what is hidden (0)")
  sounds = score.add_argument_group("recordings")
  sounds.add_argument(
    "--out", metavar="FILE.npz", help="confidences of frames, for data.confidences"
  )
  sounds.add_argument(
    "--data", metavar="CONFIG", help="whose data (default: the run's)"
  )
  sounds.add_argument("--split", default="train", help="part of them (default: train)")
  sounds.add_argument(
    "--with-blank", action="store_true", help="blank counts as a token to be sure of"
  )


def add_sampling(command: argparse.ArgumentParser) -> None:
  """The options of sampling, without defaults: those are the library's."""
  texts = command.add_argument_group("what to write")
  texts.add_argument("--prompt", metavar="TEXT", help="what the text begins with")
  texts.add_argument(
    "--template",
    metavar="TEXT",
    help="a text with holes: [MASK] for one hidden token, [MASK:12] for twelve",
  )
  texts.add_argument(
    "--length", type=int, help="tokens, prompt included (default: the training's)"
  )
  how = command.add_argument_group("how to write it")
  how.add_argument(
    "--sampler", metavar="NAME", help="see mdm/decoding/settings.py (ancestral)"
  )
  how.add_argument(
    "--steps", type=int, help="passes (default: one for each token, up to 128)"
  )
  how.add_argument("--temperature", type=float, help="0 takes the likeliest token (1)")
  how.add_argument("--top-p", type=float, help="draw from the likeliest so much (1)")
  how.add_argument("--guidance", type=float, help="how far to lean on the prompt (0)")
  how.add_argument("--block-length", type=int, help="open so many tokens at a time")
  how.add_argument("--seed", type=int, help="of what is drawn (0)")
  add_overrides(how, "other settings of the sampler, as grid=cosine or eta=0.02")


def read_sampling(args: argparse.Namespace) -> dict[str, Any]:
  """The options of `add_sampling` that were given.

  Raises:
    ValueError: a `--set` without a value.
  """
  from mdm.training.config import parse_value

  names = ("prompt", "template", "length", "sampler", "steps", "temperature", "top_p",
           "guidance", "block_length", "seed")  # fmt: skip
  found = {name: getattr(args, name) for name in names}
  found = {name: value for name, value in found.items() if value is not None}
  for setting in args.set:
    name, equals, text = setting.partition("=")
    if not equals:
      raise ValueError(f"--set {setting} has no value; write --set key=value.")
    found[name.strip()] = parse_value(text.strip())
  return found


def sample_command(args: argparse.Namespace) -> None:
  """`mdm sample`."""
  from mdm import api

  given = read_sampling(args) | ({} if args.num is None else {"num": args.num})
  if args.out is not None:
    _sample_images(args, given)
    return
  samples = api.sample(args.run_folder, keeps_history=args.show_steps, **given)
  for number, sample in enumerate(samples):
    for step, text in enumerate(sample.steps, 1):
      print(f"pass {step:4}  {text}")
    if len(samples) > 1 or args.show_steps:
      print(f"text {number + 1}, {sample.calls} network passes:")
    print(sample.text)
  write_result(args, [sample.to_json() for sample in samples])


def _sample_images(args: argparse.Namespace, given: dict[str, Any]) -> None:
  """`mdm sample --out`."""
  from mdm import api

  if args.show_steps:
    raise ValueError(
      "--show-steps prints texts; draw how images appear with `mdm plot RUN`."
    )
  images = api.sample_images(args.run_folder, args.out, **given)
  print(f"wrote {args.out}: {len(images)} images, {images[0].calls} network passes")
  write_result(
    args, {"picture": args.out, "num": len(images), "calls": images[0].calls}
  )


def score_command(args: argparse.Namespace) -> None:
  """`mdm score`."""
  from mdm import api

  texts = [*map(Path, args.files), *args.text]
  if args.out is not None:
    if texts:
      raise ValueError(f"--out is of recordings and not of texts as {texts[0]}.")
    found = api.score_frames(
      args.run_folder,
      args.out,
      data=args.data,
      split=args.split,
      exclude_blank=not args.with_blank,
    )
    print(
      f"wrote {args.out}: {found['recordings']:.0f} recordings of "
      f"{found['seconds'] / 60:.1f} minutes, mean confidence {found['mean']:.3f}"
    )
    write_result(args, found)
    return
  scores = api.score(
    args.run_folder,
    texts,
    prompt=args.prompt,
    num_strata=args.strata,
    seed=args.seed,
  )
  for score in scores:
    print(score.describe())
  write_result(args, [score.to_json() for score in scores])
