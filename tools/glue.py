"""Reads the official RTE and SST-2 files and turns their rows into token ids, for the other scripts here."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Task:
    """Where a task's texts stand and what its classes are called, in class order."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One example: its texts (one or two) and the label as written in the file."""

    texts: tuple[str, ...]
    label: str


TASKS = {
    "rte": Task(texts=("sentence1", "sentence2"), labels=("not_entailment", "entailment")),
    "sst2": Task(texts=("sentence",), labels=("0", "1")),
}


def read_rows(data: Path, task_name: str, split: str) -> list[Row]:
    """The rows of `data/<task>/<split>.tsv`: tab separated, a header, no quoting (a lone `"` is text)."""
    path = data / task_name / f"{split}.tsv"
    # Only "\n" ends a row: str.splitlines would also split at U+0085 and U+2028, which occur inside texts.
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    header = lines[0].rstrip("\r").split("\t")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            if number == len(lines):
                continue
            raise ValueError(f"{path}:{number}: empty line inside the file")
        cells = line.rstrip("\r").split("\t")
        if len(cells) != len(header):
            raise ValueError(f"{path}:{number}: {len(cells)} columns, expected {len(header)}")
        by_name = dict(zip(header, cells))
        rows.append(Row(tuple(by_name[name] for name in TASKS[task_name].texts), by_name["label"]))
    return rows


def encode(tokenizer, rows: list[Row], max_length: int) -> list[dict]:
    """Token ids (and token types where the family has them) of each row, unpadded, cut at the longest text first."""
    # A published tokenizer.json may carry the padding and truncation of its own training run.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    features = []
    for row in rows:
        encoding = tokenizer(*row.texts, truncation="longest_first", max_length=max_length, padding=False)
        features.append({name: encoding[name] for name in tokenizer.model_input_names})
    return features


def pad(tokenizer, features: list[dict]) -> dict[str, torch.Tensor]:
    """One batch, padded to its longest sequence."""
    return dict(tokenizer.pad(features, padding="longest", return_tensors="pt"))


@torch.no_grad()
def predict_logits(model, tokenizer, features: list[dict], batch_size: int = 32) -> torch.Tensor:
    """Logits `[rows, labels]` in the order of `features`; batches are grouped by length only to save time."""
    model.eval()
    order = sorted(range(len(features)), key=lambda index: len(features[index]["input_ids"]))
    logits = torch.empty(len(features), model.config.num_labels)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        logits[chosen] = model(**pad(tokenizer, [features[index] for index in chosen])).logits
    return logits


def accuracy(logits: torch.Tensor, classes: torch.Tensor) -> float:
    """Share of rows whose largest logit is the gold class."""
    return (logits.argmax(dim=1) == classes).double().mean().item()
