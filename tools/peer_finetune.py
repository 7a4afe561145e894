"""Fine-tunes an encoder with transformers and PyTorch by the recipe of stepstone's preset `default`.

The reference that stepstone's scores are held against: AdamW with bias correction, decay not on biases and norms,
clipping, linear warm-up and decay, dynamic padding, evaluation on the whole dev split, the best evaluation counts.
Appends one JSON line per run to --json.
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path

import glue
import tokenizers
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

WEIGHT_DECAY = 0.01
MAX_GRAD_NORM = 1.0
WARMUP_RATIO = 0.1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder of the encoder")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds <task>/train.tsv and dev.tsv")
    parser.add_argument("--task", choices=("rte", "sst2"), default="rte")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=float, help="default: 3, raised to reach 1,500 steps, at most 20")
    parser.add_argument("--max-steps", type=int, help="steps, instead of epochs")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, help="default: 2e-5; 5e-5 if hidden_size < 768")
    parser.add_argument("--evaluations", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True, help="file that gets one JSON line per run")
    return parser.parse_args()


def load_model(folder: Path, task: glue.Task):
    """The encoder with a new head of the family, in f32 whatever the precision on disk."""
    return AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=torch.float32,
        num_labels=len(task.labels),
        id2label=dict(enumerate(task.labels)),
        label2id={label: index for index, label in enumerate(task.labels)},
    )


def decay_groups(model) -> list[dict]:
    """Two parameter groups: weight matrices and tables decay, biases and LayerNorm gains do not."""
    decayed, exempt = [], []
    for name, parameter in model.named_parameters():
        (exempt if name.endswith(".bias") or "LayerNorm" in name else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": exempt, "weight_decay": 0.0}]


def shuffled_batches(examples: int, batch_size: int, steps: int, seed: int):
    """`steps` lists of example indices; every epoch is a new permutation, and its last batch may be short."""
    generator = torch.Generator().manual_seed(seed)
    produced = 0
    while True:
        order = torch.randperm(examples, generator=generator).tolist()
        for start in range(0, examples, batch_size):
            if produced == steps:
                return
            produced += 1
            yield order[start : start + batch_size]


def total_steps(examples: int, batch_size: int, epochs: float | None) -> int:
    """Optimizer steps of a run; by default 3 epochs, raised to reach 1,500 steps, at most 20 epochs."""
    steps_per_epoch = math.ceil(examples / batch_size)
    if epochs is None:
        epochs = min(max(math.ceil(1500 / steps_per_epoch), 3), 20)
    return max(math.ceil(epochs * steps_per_epoch), 1)


def peak_learning_rate(model) -> float:
    """The preset's learning rate for an encoder of this width."""
    return 5e-5 if model.config.hidden_size < 768 else 2e-5


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """The first step at or after each k / evaluations of the run; the last is the final step."""
    return {-(-steps * k // evaluations) for k in range(1, evaluations + 1)}


class Step:
    """Model, optimizer and schedule; a call is one training step and returns its loss."""

    def __init__(self, model, learning_rate: float, steps: int):
        self.model = model
        self.optimizer = torch.optim.AdamW(
            decay_groups(model), lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True
        )
        warmup_steps = math.ceil(WARMUP_RATIO * steps)
        self.schedule = get_linear_schedule_with_warmup(self.optimizer, warmup_steps, steps)

    def __call__(self, batch: dict, labels: torch.Tensor) -> float:
        self.model.train()
        loss = self.model(**batch, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), MAX_GRAD_NORM)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


class Split:
    """One split as features and class indices."""

    def __init__(self, arguments: argparse.Namespace, tokenizer, name: str):
        rows = glue.read_rows(arguments.data, arguments.task, name)
        labels = glue.TASKS[arguments.task].labels
        self.features = glue.encode(tokenizer, rows, arguments.max_length)
        self.classes = torch.tensor([labels.index(row.label) for row in rows])


def train(arguments: argparse.Namespace) -> dict:
    """One fine-tuning; returns its record."""
    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    train_split, dev_split = (Split(arguments, tokenizer, name) for name in ("train", "dev"))
    model = load_model(arguments.model, glue.TASKS[arguments.task])
    examples = len(train_split.features)
    steps = arguments.max_steps or total_steps(examples, arguments.batch_size, arguments.epochs)
    evaluate_at = evaluation_steps(steps, arguments.evaluations)
    learning_rate = arguments.learning_rate or peak_learning_rate(model)
    step, scores, losses, interval = Step(model, learning_rate, steps), [], [], []
    batches = shuffled_batches(examples, arguments.batch_size, steps, arguments.seed)
    for number, chosen in enumerate(batches, start=1):
        batch = glue.pad(tokenizer, [train_split.features[index] for index in chosen])
        interval.append(step(batch, train_split.classes[chosen]))
        if number in evaluate_at:
            logits = glue.predict_logits(model, tokenizer, dev_split.features)
            scores.append(glue.accuracy(logits, dev_split.classes))
            losses.append(sum(interval) / len(interval))
            interval = []
            print(f"step {number}/{steps}  loss {losses[-1]:.4f}  accuracy {scores[-1]:.4f}", flush=True)
    return {"best_accuracy": max(scores), "accuracies": scores, "losses": losses, "steps": steps,
            "evaluated_at": sorted(evaluate_at), "learning_rate": learning_rate}  # fmt: skip


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    start = time.perf_counter()
    result = train(arguments)
    record = {
        "task": arguments.task,
        "model": arguments.model.name,
        "seed": arguments.seed,
        **result,
        "batch_size": arguments.batch_size,
        "max_length": arguments.max_length,
        "threads": arguments.threads,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }
    with arguments.json.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
