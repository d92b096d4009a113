"""What the files of a published BERT encoder mean here, and the reverse.

Source: transformers 5.23, `models/bert`, names and defaults; sentence-transformers,
`models.Transformer`, `models.Pooling` and `models.Normalize`.
"""

from collections.abc import Mapping
from typing import Any

CONFIG = "config.json"
MODULES, POOLING = "modules.json", "1_Pooling/config.json"
SENTENCE = "sentence_bert_config.json"
FILES = (CONFIG, MODULES, POOLING, SENTENCE)
NETWORK = "bert.Bert"
SIZES = {  # theirs: ours, and what is meant where it is missing
  "vocab_size": ("vocab_size", 30_522),
  "hidden_size": ("width", 768),
  "num_hidden_layers": ("depth", 12),
  "num_attention_heads": ("heads", 12),
  "max_position_embeddings": ("length", 512),
  "type_vocab_size": ("types", 2),
  "hidden_dropout_prob": ("dropout", 0.1),
  "layer_norm_eps": ("epsilon", 1e-12),
}
HIDDEN = ("intermediate_size", 3072)
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu", "silu": "silu"}
ONLY = {  # settings with a single value that we compute
  "position_embedding_type": "absolute",
  "is_decoder": False,
  "add_cross_attention": False,
}
POOLS = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean",
         "pooling_mode_max_tokens": "max"}  # fmt: skip
KIND = "sentence_transformers.models."


def read_config(files: Mapping[str, Any]) -> dict[str, Any]:
  """Sections `method`, `model` and `data` of a config.

  Args:
    files: the content of each of `FILES`, None for one that is not there.

  Raises:
    ValueError: the model is no BERT, or has a setting that is not computed here.
  """
  given = files[CONFIG] or {}
  if given.get("model_type") != "bert":
    raise ValueError(
      f"model_type = {given.get('model_type')!r} is no BERT; the layout bert reads "
      "'bert' alone."
    )
  for name, wanted in ONLY.items():
    if given.get(name, wanted) != wanted:
      raise ValueError(
        f"{name} = {given[name]!r} is not computed here, only {wanted!r}; choose "
        "another checkpoint."
      )
  act = given.get("hidden_act", "gelu")
  if act not in ACTIVATIONS:
    raise ValueError(
      f"hidden_act = {act!r} is not computed here; known: {', '.join(ACTIVATIONS)}."
    )
  network = {ours: given.get(name, low) for name, (ours, low) in SIZES.items()}
  hidden = given.get(*HIDDEN)
  network |= {"name": NETWORK, "activation": ACTIVATIONS[act]}
  network["mlp_ratio"] = hidden / network["width"]
  longest = (files[SENTENCE] or {}).get("max_seq_length") or network["length"]
  method: dict[str, Any] = {"name": "text.simcse", "pool": _read_pool(files[POOLING])}
  method["normalises"] = _normalises(files[MODULES])
  data = {"name": "text", "tokenizer": "tokenizer.json", "length": int(longest)}
  return {"method": method, "model": {"network": network}, "data": data}


def write_config(config: Mapping[str, Any]) -> dict[str, Any]:
  """The content of each of `FILES`; the reverse of `read_config`.

  Raises:
    ValueError: an activation that has no name there.
  """
  network, method = config["model"]["network"], config["method"]
  names = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
  act = network.get("activation", "gelu")
  if act not in names:
    raise ValueError(f"activation = {act!r} has no name in the layout bert.")
  there = {name: network.get(ours, low) for name, (ours, low) in SIZES.items()}
  hidden = round(network.get("mlp_ratio", 4.0) * there["hidden_size"])
  there |= {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": names[act],
    HIDDEN[0]: hidden,
    "pad_token_id": 0,
  }
  pool = method.get("pool", "mean")
  pooling: dict[str, Any] = {"word_embedding_dimension": there["hidden_size"]}
  pooling |= {name: ours == pool for name, ours in POOLS.items()}
  kinds = ["Transformer", "Pooling"]
  kinds += ["Normalize"] if method.get("normalises", True) else []
  modules = [
    {
      "idx": k,
      "name": str(k),
      "path": "" if kind == "Transformer" else f"{k}_{kind}",
      "type": KIND + kind,
    }
    for k, kind in enumerate(kinds)
  ]
  sentence = {"max_seq_length": config["data"]["length"], "do_lower_case": False}
  return dict(zip(FILES, (there, modules, pooling, sentence), strict=True))


def _read_pool(given: Mapping[str, Any] | None) -> str:
  """How states become a vector; the mean where nothing is said.

  Raises:
    ValueError: several ways at once, or one that is not computed here.
  """
  if given is None:
    return "mean"
  chosen = [name for name, on in given.items() if name.startswith("pooling_") and on]
  if len(chosen) != 1 or chosen[0] not in POOLS:
    raise ValueError(
      f"{POOLING} asks for {', '.join(chosen) or 'nothing'}; one of "
      f"{', '.join(POOLS)} is computed here."
    )
  return POOLS[chosen[0]]


def _normalises(modules: Any) -> bool:
  """Whether vectors are brought to length 1, as a list of modules says.

  Raises:
    ValueError: a module that is not computed here.
  """
  if modules is None:
    return False
  kinds = [str(one.get("type", "")).rsplit(".", 1)[-1] for one in modules]
  known = ("Transformer", "Pooling", "Normalize")
  if others := [kind for kind in kinds if kind not in known]:
    raise ValueError(
      f"{MODULES} has a module {others[0]}, which is not computed here; known: "
      f"{', '.join(known)}."
    )
  return "Normalize" in kinds
