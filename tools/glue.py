"""Reads the official RTE, SST-2 and COPA files and turns their rows into token ids, for the other scripts here."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Task:
    """The columns of a task's texts and the names of its classes, in class order."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One example: the texts (one or two) of each of its sequences (one for each choice) and the label as written."""

    sequences: tuple[tuple[str, ...], ...]
    label: str


TASKS = {
    "rte": Task(texts=("sentence1", "sentence2"), labels=("not_entailment", "entailment")),
    "sst2": Task(texts=("sentence",), labels=("0", "1")),
    "copa": Task(texts=("premise", "choice1", "choice2"), labels=("0", "1")),
}
# The wording of the ACL 2020 study.
COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}


def read_rows(data: Path, task_name: str, split: str) -> list[Row]:
    """The rows of a split. COPA's are in `superglue_copa/<split>.jsonl`, and its dev split is `val`."""
    if task_name == "copa":
        return read_copa(data / "superglue_copa" / ("val.jsonl" if split == "dev" else f"{split}.jsonl"))
    return read_tsv(data, task_name, split)


def read_copa(path: Path) -> list[Row]:
    """Each choice is a pair: the premise; the question and the choice."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = COPA_QUESTIONS[row["question"]]
        pairs = tuple((row["premise"], f"{question} {row[name]}") for name in ("choice1", "choice2"))
        rows.append(Row(pairs, str(row["label"])))
    return rows


def read_tsv(data: Path, task_name: str, split: str) -> list[Row]:
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
        rows.append(Row((tuple(by_name[name] for name in TASKS[task_name].texts),), by_name["label"]))
    return rows


def encode(tokenizer, rows: list[Row], max_length: int) -> list[dict]:
    """Token ids (and token types where the family has them) of each sequence of the rows, unpadded, cut at the longest
    text first; the sequences of a row side by side."""
    # A published tokenizer.json may carry the padding and truncation of its own training run.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    features = []
    for texts in (texts for row in rows for texts in row.sequences):
        encoding = tokenizer(*texts, truncation="longest_first", max_length=max_length, padding=False)
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


@torch.no_grad()
def predict_choice_logits(model, tokenizer, features: list[dict], choices: int) -> torch.Tensor:
    """Logits `[rows, choices]` of a model for multiple choice, one row at a time."""
    model.eval()
    logits = []
    for start in range(0, len(features), choices):
        batch = pad(tokenizer, features[start : start + choices])
        logits.append(model(**{name: table.unsqueeze(0) for name, table in batch.items()}).logits[0])
    return torch.stack(logits)


def accuracy(logits: torch.Tensor, classes: torch.Tensor) -> float:
    """Share of rows whose largest logit is the gold class."""
    return (logits.argmax(dim=1) == classes).double().mean().item()
