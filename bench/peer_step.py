"""Step server of the benchmark for PyTorch and transformers: trains on one batch, or computes its logits, whenever asked.

Protocol, the same for every server. Out: `ready` and the real tokens of each batch. In: a number k on a line. Out: the
milliseconds that one training step on batch k (modulo the number of batches) took. At the end of the input, out:
`rss` and the peak resident MiB.

The step is what a fine-tuning does: forward with dropout, backward, clipping, AdamW over all parameters.
"""

import argparse
import contextlib
import resource
import sys
import time
from dataclasses import dataclass

import lengths
import torch
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

LABELS = 3
WARMUP_STEPS = 3
# Ids below this are special tokens in both vocabularies.
FIRST_ORDINARY_ID = 5


@dataclass(frozen=True)
class Shape:
    """An encoder's size and how many batches one pass has."""

    family: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    batches: int


SHAPES = {
    "S": Shape("bert", 4, 256, 4, 1024, 30522, 20),
    "M": Shape("bert", 6, 384, 12, 1536, 30522, 10),
    "B": Shape("roberta", 12, 768, 12, 3072, 50265, 4),
}


@dataclass(frozen=True)
class Variant:
    """Options with which a user can speed PyTorch up."""

    grouped: bool = False
    fused_adamw: bool = False
    bf16: bool = False
    pad_to_multiple_of: int = 1


VARIANTS = {
    "dyn": Variant(),
    "grouped": Variant(grouped=True, fused_adamw=True),
    "bf16": Variant(grouped=True, fused_adamw=True, bf16=True, pad_to_multiple_of=8),
}


@dataclass(frozen=True)
class Batch:
    """Keyword arguments of the model, and how many of the tokens are not padding."""

    arguments: dict[str, torch.Tensor]
    real_tokens: int


def new_model(shape: Shape, dropout: float):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        "num_labels": LABELS,
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "attn_implementation": "sdpa",
    }
    if shape.family == "bert":
        return BertForSequenceClassification(BertConfig(**sizes)).train()
    positions = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    return RobertaForSequenceClassification(RobertaConfig(**sizes, **positions)).train()


def new_batch(shape: Shape, sequence_lengths: list[int], multiple: int, generator: torch.Generator) -> Batch:
    """Random ids and labels, padded to the longest sequence rounded up to `multiple`."""
    width = -(-max(sequence_lengths) // multiple) * multiple
    rows = len(sequence_lengths)
    padding_id = 0 if shape.family == "bert" else 1
    mask = torch.arange(width) < torch.tensor(sequence_lengths)[:, None]
    ids = torch.randint(FIRST_ORDINARY_ID, shape.vocabulary, (rows, width), generator=generator)
    arguments = {
        "input_ids": torch.where(mask, ids, padding_id),
        "attention_mask": mask.long(),
        "labels": torch.randint(0, LABELS, (rows,), generator=generator),
    }
    return Batch(arguments, sum(sequence_lengths))


def new_batches(shape: Shape, variant: Variant) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    cut = lengths.grouped if variant.grouped else lengths.in_order
    return [new_batch(shape, rows, variant.pad_to_multiple_of, generator) for rows in cut(shape.batches)]


class Trainer:
    """A call is one training step."""

    def __init__(self, shape: Shape, variant: Variant, dropout: float):
        self.model = new_model(shape, dropout)
        fused = True if variant.fused_adamw else None
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2e-5, fused=fused)
        self.bf16 = variant.bf16

    def __call__(self, batch: Batch) -> float:
        precision = torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        with precision:
            loss = self.model(**batch.arguments).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


class Inference:
    """A call computes the logits of a batch."""

    def __init__(self, model, variant: Variant):
        self.model = model.eval()
        self.bf16 = variant.bf16

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> float:
        precision = torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        arguments = {name: tensor for name, tensor in batch.arguments.items() if name != "labels"}
        with precision:
            return self.model(**arguments).logits.sum().item()


def serve(work: Trainer | Inference, batches: list[Batch]) -> None:
    for batch in batches[:WARMUP_STEPS]:
        work(batch)
    print("ready", *(batch.real_tokens for batch in batches), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        work(batches[int(line) % len(batches)])
        print(f"{(time.perf_counter() - start) * 1e3:.3f}", flush=True)
    print("rss", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--inference", action="store_true", help="logits without gradients instead of a training step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape, variant = SHAPES[arguments.shape], VARIANTS[arguments.variant]
    work = Trainer(shape, variant, arguments.dropout)
    serve(Inference(work.model, variant) if arguments.inference else work, new_batches(shape, variant))


if __name__ == "__main__":
    main()
