"""Makes the golden values of the multiple-choice heads on the tiny encoders of make_encoders.py, in f64.

For each family `choices.json` and `choices.safetensors` beside the model: two questions of three choices. Two heads: `hf`
(what transformers' ForMultipleChoice has: pooler, dropout, one score) and `linear` (one linear layer on the first token's
state). The heads' own weights stand under `hf.head.` and `linear.head.`. Nothing is written unless the analytic gradients
agree with central differences.
"""

import argparse
from pathlib import Path

import numpy
import torch
import transformers
from make_encoders import golden_of
from tiny_models import FAMILIES, HIDDEN, LABELS, load_float64, padded, provenance, random_sequences, write_json
from tiny_models import write_tensors

# Two questions; LABELS choices each, so that one test of three logits serves both kinds of head.
LENGTHS = [7, 2, 13, 5, 31, 3]


def question_batch(model, inputs: dict) -> dict[str, torch.Tensor]:
    """`[questions, choices, tokens]`, as ForMultipleChoice takes them."""
    return {name: table.view(-1, LABELS, table.shape[-1]) for name, table in padded(model, inputs).items()}


def random_head(head: torch.nn.Module, seed: int) -> torch.nn.Module:
    """A module in f64 whose weights are f32 values, so that an f32 program starts from the same numbers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return head.double()


def make(family: str, folder: Path, seed: int) -> None:
    """Writes inputs and golden values of one family."""
    encoder = load_float64(folder).base_model
    model = transformers.AutoModelForMultipleChoice.from_config(encoder.config).double().eval()
    # All but the pooler: RoBERTa's classifier has none, and it is set anew below.
    model.base_model.load_state_dict(encoder.state_dict(), strict=False)
    own = {name: value for name, value in model.named_parameters() if "pooler" in name or "classifier" in name}
    random_head(torch.nn.ParameterList(own.values()), seed + 1)
    linear = random_head(torch.nn.Linear(HIDDEN, 1), seed + 2)
    inputs = random_sequences(family, LENGTHS, numpy.random.default_rng(seed))
    inputs["labels"] = [2, 0]
    labels = torch.tensor(inputs["labels"])

    def hf_outputs() -> tuple[torch.Tensor, torch.Tensor]:
        outputs = model(**question_batch(model, inputs), labels=labels)
        return outputs.logits, outputs.loss

    def linear_outputs() -> tuple[torch.Tensor, torch.Tensor]:
        states = encoder(**padded(encoder, inputs)).last_hidden_state
        logits = linear(states[:, 0]).view(-1, LABELS)
        return logits, torch.nn.functional.cross_entropy(logits, labels)

    linear_parameters = {f"classifier.{name}": value for name, value in linear.named_parameters()}
    encoder_parameters = {f"{family}.{name}": value for name, value in encoder.named_parameters()}
    golden = golden_of("hf", hf_outputs, dict(model.named_parameters()))
    golden |= golden_of("linear", linear_outputs, encoder_parameters | linear_parameters)
    golden |= {f"hf.head.{name.removeprefix(family + '.')}": value for name, value in own.items()}
    golden |= {f"linear.head.{name}": value for name, value in linear_parameters.items()}
    made = provenance(Path(__file__).name) | {"seed": str(seed)}
    write_tensors(folder / "choices.safetensors", golden, made)
    write_json(folder / "choices.json", {"made": made, **inputs})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/stepstone-fixtures/encoders"))
    parser.add_argument("--seed", type=int, default=50)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for number, family in enumerate(FAMILIES):
        print(family)
        make(family, arguments.out / family, arguments.seed + 10 * number)


if __name__ == "__main__":
    main()
