"""Makes the golden values of the encoders and classification heads: logits, loss and every gradient, in f64.

For each family: a tiny random model as a Hugging Face folder, `inputs.json` and `golden.safetensors`. Two heads on the
same encoder: `hf` (what transformers' ForSequenceClassification has) and `linear` (one linear layer on the first
token's state, no pooler). Nothing is written unless the analytic gradients agree with central differences and padding
is seen to change nothing.
"""

import argparse
from pathlib import Path

import numpy
import torch
import transformers
from tiny_models import (
    FAMILIES,
    HIDDEN,
    LABELS,
    load_float64,
    padded,
    provenance,
    random_model,
    random_sequences,
    write_json,
    write_tensors,
)

LENGTHS = [2, 7, 13, 31, 5]
# Central differences in f64 with this step are off by about step^2 from the third derivative and 1e-16 / step from
# rounding: near 1e-10 for gradients of order 1.
DIFFERENCE_STEP = 1e-5
DIFFERENCE_BOUND = 1e-8
PADDING_BOUND = 1e-13


def hf_outputs(model, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `[sequences, labels]` and the mean cross-entropy."""
    outputs = model(**padded(model, inputs), labels=torch.tensor(inputs["labels"]))
    return outputs.logits, outputs.loss


def linear_outputs(model, head: torch.nn.Linear, inputs: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """The same from one linear layer on the first token's state."""
    states = model.base_model(**padded(model, inputs)).last_hidden_state
    logits = head(states[:, 0])
    return logits, torch.nn.functional.cross_entropy(logits, torch.tensor(inputs["labels"]))


def gradients(loss: torch.Tensor, parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The gradient of each parameter that the loss depends on."""
    values = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: value for name, value in zip(parameters, values) if value is not None}


@torch.no_grad()
def check_by_differences(loss_of, parameters: dict[str, torch.Tensor], analytic: dict[str, torch.Tensor]) -> float:
    """Compares the largest gradient entry of every parameter with a central difference; returns the worst error."""
    worst = 0.0
    for name, gradient in analytic.items():
        entry = parameters[name].view(-1)
        index = gradient.abs().argmax().item()
        kept = entry[index].item()
        losses = []
        for value in (kept + DIFFERENCE_STEP, kept - DIFFERENCE_STEP):
            entry[index] = value
            losses.append(loss_of().item())
        entry[index] = kept
        numeric = (losses[0] - losses[1]) / (2 * DIFFERENCE_STEP)
        worst = max(worst, abs(numeric - gradient.view(-1)[index].item()))
    if not worst <= DIFFERENCE_BOUND:
        raise SystemExit(f"gradients are off by {worst:.1e} from central differences, bound {DIFFERENCE_BOUND:.0e}")
    return worst


@torch.no_grad()
def packed_states(model, inputs: dict) -> torch.Tensor:
    """Last hidden states `[tokens, hidden]`, sequences back to back; checked against each sequence run alone."""
    states = model.base_model(**padded(model, inputs)).last_hidden_state
    packed = torch.cat([states[row, : len(ids)] for row, ids in enumerate(inputs["sequences"])])
    alone = []
    for ids, types in zip(inputs["sequences"], inputs["type_ids"]):
        single = padded(model, {"sequences": [ids], "type_ids": [types]})
        alone.append(model.base_model(**single).last_hidden_state[0])
    difference = (packed - torch.cat(alone)).abs().max().item()
    if not difference <= PADDING_BOUND:
        raise SystemExit(f"padding moves a hidden state by {difference:.1e}, bound {PADDING_BOUND:.0e}")
    return packed


def linear_head(seed: int) -> torch.nn.Linear:
    """A linear layer whose f64 weights are f32 values, so that an f32 program starts from the same numbers."""
    head = torch.nn.Linear(HIDDEN, LABELS)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return head.double()


def golden_of(prefix: str, outputs_of, parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Logits, loss and checked gradients of one head, under `prefix`."""
    logits, loss = outputs_of()
    analytic = gradients(loss, parameters)
    worst = check_by_differences(lambda: outputs_of()[1], parameters, analytic)
    print(f"{prefix}: loss {loss.item():.6f}, {len(analytic)} gradients, off by {worst:.1e} from central differences")
    golden = {f"{prefix}.logits": logits, f"{prefix}.loss": loss}
    golden |= {f"{prefix}.gradient.{name}": gradient for name, gradient in analytic.items()}
    return golden


def make(family: str, folder: Path, seed: int) -> None:
    """Writes the model folder, its inputs and its golden values."""
    random_model(family, seed).save_pretrained(folder)
    model, head = load_float64(folder), linear_head(seed + 1)
    inputs = random_sequences(family, LENGTHS, numpy.random.default_rng(seed))
    parameters = dict(model.named_parameters())
    head_parameters = {f"classifier.{name}": parameter for name, parameter in head.named_parameters()}
    # Under the `linear` head the model's own head takes no part, so that `classifier.weight` has one meaning.
    encoder = {name: value for name, value in parameters.items() if name.startswith(f"{family}.")}
    golden = {"last_hidden_state": packed_states(model, inputs)}
    golden |= golden_of("hf", lambda: hf_outputs(model, inputs), parameters)
    golden |= golden_of("linear", lambda: linear_outputs(model, head, inputs), encoder | head_parameters)
    golden |= {f"linear.head.{name}": value for name, value in head_parameters.items()}
    made = provenance(Path(__file__).name) | {"seed": str(seed)}
    write_tensors(folder / "golden.safetensors", golden, made)
    write_json(folder / "inputs.json", {"made": made, **inputs})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/stepstone-fixtures/encoders"))
    parser.add_argument("--seed", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for number, family in enumerate(FAMILIES):
        print(family)
        make(family, arguments.out / family, arguments.seed + 10 * number)


if __name__ == "__main__":
    main()
