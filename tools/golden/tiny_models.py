"""The tiny random BERT and RoBERTa that all golden values are computed on, and how their inputs are made."""

import datetime
import json
import platform
from pathlib import Path

import numpy
import safetensors.torch
import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

HIDDEN = 24
LABELS = 3
VOCABULARY = 61
FAMILIES = ("bert", "roberta")
# Ids below this are special in both families; RoBERTa counts positions over tokens that are not padding (id 1).
FIRST_ORDINARY_ID = 5

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "num_labels": LABELS,
}


def config_of(family: str):
    """Three heads of width 8, a feed-forward width that is not a multiple of 16, and the epsilon of each family."""
    if family == "bert":
        return BertConfig(**SHAPE, max_position_embeddings=40, type_vocab_size=2, layer_norm_eps=1e-12)
    # The position table starts at the padding id + 1 = 2, so 42 rows hold 40 tokens.
    return RobertaConfig(**SHAPE, max_position_embeddings=42, type_vocab_size=1, layer_norm_eps=1e-5)


def random_model(family: str, seed: int):
    """A model in f32 whose every parameter is perturbed: no bias is zero and no gain is one."""
    torch.manual_seed(seed)
    head = BertForSequenceClassification if family == "bert" else RobertaForSequenceClassification
    model = head(config_of(family))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    return model.eval()


def load_float64(folder: Path):
    """The model of `folder` in f64, without dropout; plain attention, so that no fused kernel decides the digits."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager")
    return model.double().eval()


def random_sequences(family: str, lengths: list[int], generator: numpy.random.Generator) -> dict:
    """Ids, token types (BERT: every other sequence is a pair) and labels; unpadded lists, one per sequence."""
    ids = [generator.integers(FIRST_ORDINARY_ID, VOCABULARY, length).tolist() for length in lengths]
    types = []
    for index, length in enumerate(lengths):
        second = length // 2 if family == "bert" and index % 2 == 1 else 0
        types.append([0] * (length - second) + [1] * second)
    labels = generator.permutation(numpy.arange(len(lengths)) % LABELS)  # every class occurs
    return {"sequences": ids, "type_ids": types, "labels": labels.tolist()}


def padded(model, inputs: dict) -> dict[str, torch.Tensor]:
    """The keyword arguments of a transformers model: everything padded to the longest sequence, with a mask."""
    longest = max(map(len, inputs["sequences"]))

    def table(rows: list[list[int]], filler: int) -> torch.Tensor:
        return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

    return {
        "input_ids": table(inputs["sequences"], model.config.pad_token_id),
        "token_type_ids": table(inputs["type_ids"], 0),
        "attention_mask": table([[1] * len(row) for row in inputs["sequences"]], 0),
    }


def provenance(script: str) -> dict[str, str]:
    """Where a golden file comes from: script, versions, date."""
    return {
        "made_by": f"tools/golden/{script}",
        "made_on": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "safetensors": safetensors.__version__,
        "numpy": numpy.__version__,
    }


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], made: dict[str, str]) -> None:
    """A safetensors file; the provenance is one metadata entry, because the order of several would change between runs."""
    # Copies: safetensors refuses tensors that share memory.
    plain = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    path.write_bytes(safetensors.torch.save(plain, {"made": json.dumps(made)}))


def write_json(path: Path, value: dict) -> None:
    """One line per top-level entry, and one per item where the entry is a list of compound items."""
    entries = []
    for name, entry in value.items():
        if isinstance(entry, list) and isinstance(entry[0], (list, dict)):
            items = ",\n  ".join(json.dumps(item) for item in entry)
            entries.append(f"{json.dumps(name)}: [\n  {items}\n ]")
        else:
            entries.append(f"{json.dumps(name)}: {json.dumps(entry)}")
    path.write_text("{\n " + ",\n ".join(entries) + "\n}\n", encoding="utf-8")
