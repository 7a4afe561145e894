"""Makes a smaller encoder from the first layers of a Hugging Face folder: a real pretrained one for quick tests."""

import argparse
import json
import re
import shutil
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

LAYER = re.compile(r"(?:^|\.)encoder\.layer\.(\d+)\.")
# Sentence-transformers extras and weights in other formats would contradict the cut weights.
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


def kept(name: str, layers: int) -> bool:
    """Whether a tensor is outside the layers or in one of the first `layers`."""
    match = LAYER.search(name)
    return match is None or int(match.group(1)) < layers


def cut_weights(source: Path, target: Path, layers: int) -> None:
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if kept(name, layers)}
    save_file(tensors, target, {"format": "pt"})


def cut(source: Path, target: Path, layers: int) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if not 1 <= layers <= config["num_hidden_layers"]:
        raise SystemExit(f"{source}: has {config['num_hidden_layers']} layers, asked for {layers}")
    target.mkdir(parents=True, exist_ok=True)
    cut_weights(source / "model.safetensors", target / "model.safetensors", layers)
    config["num_hidden_layers"] = layers
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in COPIED:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    arguments = parser.parse_args()
    cut(arguments.source, arguments.target, arguments.layers)


if __name__ == "__main__":
    main()
