"""Makes the golden trajectory of BertAdam: 20 steps without dropout, in f64, on the batches of make_trajectory.py.

The reference is the optimizer as the ACL 2020 study had it: `BertAdam` of pytorch-pretrained-bert 0.6.2, with its clipping of
each tensor, after a clipping of the global norm. Both limits are set so low here that both act. Needs, beside
requirements.txt:

    pip install --no-deps pytorch-pretrained-bert==0.6.2
"""

import argparse
import importlib.metadata
import importlib.util
import json
import warnings
from pathlib import Path

import torch
import transformers
from make_trajectory import golden_of, summarize
from tiny_models import FAMILIES, load_float64, padded, provenance, write_tensors

RECIPE = {"lr": 1e-3, "warmup": 0.1, "weight_decay": 0.01, "b1": 0.9, "b2": 0.999, "e": 1e-6}
MAX_GRAD_NORM = 0.35
MAX_TENSOR_NORM = 0.1


def bert_adam():
    """Only the class: the package's other modules import libraries that we do not need."""
    package = importlib.util.find_spec("pytorch_pretrained_bert").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("bert_adam", Path(package) / "optimization.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.BertAdam


def make(family: str, models: Path, out: Path) -> None:
    batches = json.loads((out / f"{family}_trajectory.json").read_text(encoding="utf-8"))["batches"]
    model = load_float64(models / family)
    parameters = list(model.parameters())
    optimizer = bert_adam()(parameters, t_total=len(batches), max_grad_norm=MAX_TENSOR_NORM, **RECIPE)
    losses, norms, tensors_clipped = [], [], 0
    for batch in batches:
        loss = model(**padded(model, batch), labels=torch.tensor(batch["labels"])).loss
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, MAX_GRAD_NORM).item())
        tensors_clipped += sum(p.grad.norm().item() > MAX_TENSOR_NORM for p in parameters)
        optimizer.step()
    golden = golden_of(model, batches[-1], losses, norms)
    summarize(f"{family}, BertAdam", golden, MAX_GRAD_NORM)
    print(f"  {tensors_clipped} times a tensor was clipped at {MAX_TENSOR_NORM}")
    version = importlib.metadata.version("pytorch-pretrained-bert")
    made = provenance(Path(__file__).name) | {"pytorch_pretrained_bert": version}
    write_tensors(out / f"{family}_bert_adam.safetensors", golden, made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("crates/stepstone-fixtures/encoders"))
    parser.add_argument("--out", type=Path, default=Path("crates/stepstone-train/tests/golden"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", UserWarning)  # of 2019: it calls PyTorch as one did then
    for family in FAMILIES:
        make(family, arguments.models, arguments.out)


if __name__ == "__main__":
    main()
