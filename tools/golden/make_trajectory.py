"""Makes the golden trajectory: 20 AdamW steps without dropout, in f64, from the tiny models of make_encoders.py.

For each family `<family>_trajectory.json` (recipe, learning rates, batches) and `<family>_trajectory.safetensors`
(losses, gradient norms before clipping, last logits, final parameters). The tiny models' gradients are too short to be
clipped at 1.0, so the same steps are taken once more with a lower limit, under `clipped.`. Every update is computed
twice, by PyTorch and by the formula written out below; nothing is written unless both agree.
"""

import argparse
from pathlib import Path

import numpy
import torch
import transformers
from tiny_models import FAMILIES, load_float64, padded, provenance, random_sequences, write_json, write_tensors

STEPS = 20
SEQUENCES = 8
RECIPE = {
    "peak_learning_rate": 1e-3,
    "warmup_steps": 2,
    "total_steps": STEPS,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "clipped_max_grad_norm": 0.35,
}
# Two f64 evaluations of one formula in different orders of operations, over 20 steps.
FORMULA_BOUND = 1e-12


def has_no_decay(name: str) -> bool:
    return name.endswith(".bias") or "LayerNorm" in name


def optimizer_of(parameters: dict[str, torch.Tensor]) -> torch.optim.AdamW:
    """AdamW with bias correction; biases and LayerNorm parameters do not decay."""
    groups = [
        {"params": [p for n, p in parameters.items() if has_no_decay(n)], "weight_decay": 0.0},
        {"params": [p for n, p in parameters.items() if not has_no_decay(n)], "weight_decay": RECIPE["weight_decay"]},
    ]
    betas = (RECIPE["beta1"], RECIPE["beta2"])
    return torch.optim.AdamW(groups, lr=RECIPE["peak_learning_rate"], betas=betas, eps=RECIPE["epsilon"])


class WrittenOut:
    """The same clipping and update as plain formulas, on copies of the parameters."""

    def __init__(self, parameters: dict[str, torch.Tensor], max_grad_norm: float):
        self.max_grad_norm = max_grad_norm
        self.values = {name: p.detach().clone() for name, p in parameters.items()}
        self.first = {name: torch.zeros_like(p) for name, p in self.values.items()}
        self.second = {name: torch.zeros_like(p) for name, p in self.values.items()}
        self.step = 0

    def update(self, gradients: dict[str, torch.Tensor], norm: float, learning_rate: float) -> None:
        self.step += 1
        # PyTorch adds 1e-6 to the norm before it divides, and never scales up.
        scale = min(1.0, self.max_grad_norm / (norm + 1e-6))
        beta1, beta2 = RECIPE["beta1"], RECIPE["beta2"]
        for name, value in self.values.items():
            gradient = gradients[name] * scale
            self.first[name] = beta1 * self.first[name] + (1 - beta1) * gradient
            self.second[name] = beta2 * self.second[name] + (1 - beta2) * gradient**2
            mean = self.first[name] / (1 - beta1**self.step)
            deviation = (self.second[name] / (1 - beta2**self.step)).sqrt()
            decay = 0.0 if has_no_decay(name) else RECIPE["weight_decay"]
            value.mul_(1 - learning_rate * decay).sub_(learning_rate * mean / (deviation + RECIPE["epsilon"]))

    def check(self, parameters: dict[str, torch.Tensor]) -> None:
        worst = max((value - parameters[name]).abs().max().item() for name, value in self.values.items())
        print(f"parameters: PyTorch and the formula differ by at most {worst:.1e}")
        if not worst <= FORMULA_BOUND:
            raise SystemExit(f"the formula is not what PyTorch computes: {worst:.1e}, bound {FORMULA_BOUND:.0e}")


def run(model, batches: list[dict], max_grad_norm: float) -> tuple[dict[str, torch.Tensor], list[float]]:
    """The steps; returns the golden tensors and the learning rate of each step."""
    parameters = dict(model.named_parameters())
    optimizer, formula = optimizer_of(parameters), WrittenOut(parameters, max_grad_norm)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, RECIPE["warmup_steps"], STEPS)
    losses, norms, learning_rates = [], [], []
    for batch in batches:
        loss = model(**padded(model, batch), labels=torch.tensor(batch["labels"])).loss
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in parameters.items()}
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm).item())
        learning_rates.append(schedule.get_last_lr()[0])
        formula.update(gradients, norms[-1], learning_rates[-1])
        optimizer.step()
        schedule.step()
    formula.check(parameters)
    return golden_of(model, batches[-1], losses, norms), learning_rates


@torch.no_grad()
def golden_of(model, last_batch: dict, losses: list[float], norms: list[float]) -> dict[str, torch.Tensor]:
    """The results of a trajectory; `last_logits` are those of the last batch after the last step."""
    golden = {f"parameter.{name}": parameter for name, parameter in model.named_parameters()}
    golden["losses"] = torch.tensor(losses, dtype=torch.float64)
    golden["gradient_norms"] = torch.tensor(norms, dtype=torch.float64)
    golden["last_logits"] = model(**padded(model, last_batch)).logits
    return golden


def summarize(name: str, golden: dict[str, torch.Tensor], max_grad_norm: float) -> None:
    losses, norms = golden["losses"], golden["gradient_norms"]
    clipped = (norms > max_grad_norm).sum().item()
    print(f"{name}: losses {losses[0]:.4f} .. {losses[-1]:.4f}, gradient norms {norms.min():.2f} to {norms.max():.2f},")
    print(f"  clipped at {max_grad_norm} in {clipped} steps")


def make(family: str, models: Path, out: Path, seed: int) -> None:
    """Writes the two trajectory files of one family."""
    generator = numpy.random.default_rng(seed)
    batches = [
        random_sequences(family, generator.integers(2, 32, SEQUENCES).tolist(), generator) for _ in range(STEPS)
    ]
    golden = {}
    for prefix, limit in (("", RECIPE["max_grad_norm"]), ("clipped.", RECIPE["clipped_max_grad_norm"])):
        model = load_float64(models / family)
        trajectory, learning_rates = run(model, batches, limit)
        summarize(f"{prefix}{family}", trajectory, limit)
        golden |= {f"{prefix}{name}": value for name, value in trajectory.items()}
    made = provenance(Path(__file__).name) | {"seed": str(seed)}
    write_tensors(out / f"{family}_trajectory.safetensors", golden, made)
    document = {
        "made": made,
        "model": f"crates/stepstone-fixtures/encoders/{family}",
        "recipe": RECIPE,
        "no_weight_decay": sorted(name for name, _ in model.named_parameters() if has_no_decay(name)),
        "learning_rates": learning_rates,
        "batches": batches,
    }
    write_json(out / f"{family}_trajectory.json", document)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("crates/stepstone-fixtures/encoders"))
    parser.add_argument("--out", type=Path, default=Path("crates/stepstone-train/tests/golden"))
    parser.add_argument("--seed", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, family in enumerate(FAMILIES):
        make(family, arguments.models, arguments.out, arguments.seed + 10 * number)


if __name__ == "__main__":
    main()
