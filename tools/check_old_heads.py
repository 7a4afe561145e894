"""Trains on tiny encoders whose config.json speaks of an earlier head, and checks each export in transformers.

    python tools/check_old_heads.py target/release/stepstone

For every config below, both families and both heads: `AutoModelForSequenceClassification` (`AutoModel` for a `linear`
head) must load the export without missing, unexpected or mismatched tensors, and give the logits that stepstone wrote.
Exit status 1 if one does not. Needs no data and no download.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import check_export
import torch
from transformers import AutoTokenizer

ENCODERS = Path(__file__).resolve().parent.parent / "crates/stepstone-fixtures/encoders"
# Keys that a fine-tuned or converted encoder may bring along.
BEFORE = [
    {},
    {"num_labels": 5, "_num_labels": 5, "id2label": None, "label2id": None},
    {"num_labels": 3, "problem_type": "multi_label_classification"},
    {"problem_type": "regression", "finetuning_task": "stsb", "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
    {"architectures": ["BertForMaskedLM"], "torch_dtype": "float16", "dtype": "bfloat16", "return_dict": False},
    {"add_cross_attention": True, "is_encoder_decoder": True, "auto_map": {"AutoModel": "code.Model"}},
    {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}, "pruned_heads": {}},
]
WORDS = [f"w{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]


def write_encoder(folder: Path, family: str, before: dict) -> None:
    """The tiny encoder of a family with these keys and a vocabulary that its table has room for."""
    folder.mkdir(parents=True)
    shutil.copy(ENCODERS / family / "model.safetensors", folder)
    config = json.loads((ENCODERS / family / "config.json").read_text()) | before
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    if family == "bert":
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
        return
    # Every byte that the made-up words need, and no merges; byte-level vocabularies write a space as U+0120.
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "\u0120", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def write_data(folder: Path) -> None:
    """One word decides."""
    (folder / "sst2").mkdir(parents=True)
    for name, rows in [("train", 64), ("dev", 24)]:
        lines = [f"{WORDS[row % 2]} {WORDS[2 + row % 20]}\t{row % 2}" for row in range(rows)]
        (folder / "sst2" / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines, ""]))


def run(program: Path, place: Path, *arguments: str) -> None:
    done = subprocess.run([program, *arguments], cwd=place, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stderr.strip()}")


def problems(program: Path, place: Path, head: str) -> list[str]:
    """Trains and exports in `place`, and says what transformers does not accept."""
    run(program, place, "train", "--model", "model", "--task", "sst2", "--data", "data", "--max-length", "16",
        "--max-steps", "20", "--learning-rate", "0.005", "--head", head, "--out", "run")
    run(program, place, "export", "run", "export")
    export = place / "export"
    # Raises if tensors do not fit the config.
    model, missing = check_export.load_model(export)
    arguments = argparse.Namespace(
        data=place / "data", task="sst2", predictions=place / "run/predictions.jsonl", max_length=16, bound=1e-4
    )
    found = check_export.problems(arguments, model, AutoTokenizer.from_pretrained(export))
    return [f"the export lacks {name}" for name in missing] + found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path, help="the stepstone binary")
    program = parser.parse_args().program.resolve()
    torch.manual_seed(0)
    failed = 0
    for family in ["bert", "roberta"]:
        for head in ["hf", "linear"]:
            for before in BEFORE:
                with tempfile.TemporaryDirectory() as name:
                    place = Path(name)
                    write_encoder(place / "model", family, before)
                    write_data(place / "data")
                    try:
                        found = problems(program, place, head)
                    except (RuntimeError, ValueError, KeyError, OSError, ImportError, AttributeError) as error:
                        found = [f"{type(error).__name__}: {error}"]
                failed += bool(found)
                for problem in found:
                    print(f"error: {family} {head} after {before}: {problem}", file=sys.stderr)
    print(f"{2 * 2 * len(BEFORE)} exports, {failed} refused or different")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
