"""Checks an exported folder: transformers must give the logits and the dev score that stepstone predicted.

    python tools/check_export.py EXPORT runs/<id>/predictions.jsonl --data DIR --task rte

Line i of the predictions belongs to row i of the task's dev file; fields: id, gold, predicted (label names or class
indices) and logits. Exit status 1 if a logit differs by more than the bound, if a gold label differs, or if the
scores differ.
"""

import argparse
import json
import sys
from pathlib import Path

import glue
import torch
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.modeling_outputs import SequenceClassifierOutput


class LinearClassifier(torch.nn.Module):
    """An exported encoder and the `linear` head beside it: one layer on the last state of the first token."""

    def __init__(self, encoder, head: dict[str, torch.Tensor]):
        super().__init__()
        self.encoder, self.config = encoder, encoder.config
        self.weight, self.bias = head["classifier.weight"], head["classifier.bias"]

    def forward(self, **batch) -> SequenceClassifierOutput:
        first = self.encoder(**batch).last_hidden_state[:, 0]
        return SequenceClassifierOutput(logits=torch.nn.functional.linear(first, self.weight, self.bias))


def load_model(export: Path) -> tuple:
    """The exported classifier, and the names of tensors that it should have and lacks."""
    head = export / "head.safetensors"
    choice = AutoConfig.from_pretrained(export).architectures[0].endswith("ForMultipleChoice")
    whole = AutoModelForMultipleChoice if choice else AutoModelForSequenceClassification
    kind = AutoModel if head.exists() else whole
    model, report = kind.from_pretrained(export, dtype=torch.float32, output_loading_info=True)
    # A `linear` head needs no pooler.
    missing = sorted(name for name in report["missing_keys"] if not (head.exists() and name.startswith("pooler.")))
    return (LinearClassifier(model, load_file(head)) if head.exists() else model), missing


def read_predictions(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def class_of(label: str | int, config) -> int:
    """The class index of a label name of the export's config, or of an index in words or as a number: a choice."""
    return config.label2id[label] if label in config.label2id else int(label)


def score(classes: list[int], gold: list[int]) -> float:
    return sum(a == b for a, b in zip(classes, gold, strict=True)) / len(gold)


def problems(arguments: argparse.Namespace, model, tokenizer) -> list[str]:
    """What disagrees, in words; prints the figures that are compared."""
    rows = glue.read_rows(arguments.data, arguments.task, "dev")
    predictions = read_predictions(arguments.predictions)
    if len(rows) != len(predictions):
        return [f"{len(predictions)} predictions for {len(rows)} rows"]
    gold = [class_of(row.label, model.config) for row in rows]
    found = []
    for row, (ours, theirs) in enumerate(zip(predictions, gold)):
        if class_of(ours["gold"], model.config) != theirs:
            found.append(f"row {row} (id {ours['id']}): gold is {ours['gold']}, the file says {rows[row].label}")
    features, choices = glue.encode(tokenizer, rows, arguments.max_length), len(rows[0].sequences)
    if choices == 1:
        logits = glue.predict_logits(model, tokenizer, features)
    else:
        logits = glue.predict_choice_logits(model, tokenizer, features, choices)
    own_logits = torch.tensor([prediction["logits"] for prediction in predictions])
    if own_logits.shape != logits.shape:
        return [*found, f"logits are {tuple(own_logits.shape)}, expected {tuple(logits.shape)}"]
    difference = (logits - own_logits).abs().max().item()
    own_score = score([class_of(prediction["predicted"], model.config) for prediction in predictions], gold)
    peer_score = score(logits.argmax(dim=1).tolist(), gold)
    print(f"rows {len(rows)}  largest logit difference {difference:.2e}")
    print(f"accuracy: stepstone {own_score:.6f}, transformers {peer_score:.6f}")
    # This form of the comparison also fails for NaN.
    if not difference <= arguments.bound:
        found.append(f"a logit differs by {difference:.2e}, bound {arguments.bound:.0e}")
    if own_score != peer_score:
        found.append(f"scores differ: {own_score} and {peer_score}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path, help="folder written by `stepstone export RUN DIR`")
    parser.add_argument("predictions", type=Path, help="predictions.jsonl of the same run")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds <task>/dev.tsv")
    parser.add_argument("--task", choices=sorted(glue.TASKS), default="rte")
    parser.add_argument("--max-length", type=int, default=256, help="as in the run's recipe")
    parser.add_argument("--bound", type=float, default=1e-4)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.export)
    model, missing = load_model(arguments.export)
    # transformers fills a missing head with random numbers and only warns.
    found = [f"the export lacks {name}" for name in missing]
    found += problems(arguments, model, tokenizer)
    for problem in found:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
