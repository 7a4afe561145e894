"""Compares restarts of stepstone with restarts of transformers by the same recipe: means and two standard errors.

    python tools/compare_seeds.py --ours OUT/ours-0 OUT/ours-1 ... --peer OUT/peer-0.jsonl OUT/peer-1.jsonl ...

`--ours` names run folders, `--peer` the files of peer_finetune.py. Refuses runs of different recipes or data sizes.
Exit status 1 if the means differ by more than two standard errors of their difference.
"""

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Restart:
    """One run: its score, and the settings that both sides must share."""

    recipe: tuple[tuple[str, object], ...]
    seed: int
    score: float


def recipe(task: str, steps: int, batch_size: int, max_length: int, learning_rate: float) -> tuple:
    values = {"task": task, "steps": steps, "batch_size": batch_size, "max_length": max_length}
    return tuple((values | {"learning_rate": learning_rate}).items())


def ours(folder: Path) -> Restart:
    """A finished run of stepstone."""
    identity = json.loads((folder / "run.json").read_text(encoding="utf-8"))["identity"]
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    values = identity["recipe"]
    same = recipe(
        identity["task"], values["total_steps"], values["batch_size"], values["max_length"], values["learning_rate"]
    )
    return Restart(same, identity["seed"], scores["scores"][0]["value"])


def peers(path: Path) -> list[Restart]:
    """The runs of a file of peer_finetune.py."""
    restarts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        same = recipe(run["task"], run["steps"], run["batch_size"], run["max_length"], run["learning_rate"])
        restarts.append(Restart(same, run["seed"], run["best_accuracy"]))
    return restarts


def standard_error(restarts: list[Restart]) -> float:
    """Standard error of the mean, from the spread of the restarts."""
    return statistics.stdev(restart.score for restart in restarts) / math.sqrt(len(restarts))


def line(name: str, restarts: list[Restart]) -> str:
    scores = "  ".join(f"{restart.score:.4f}" for restart in sorted(restarts, key=lambda restart: restart.seed))
    mean = statistics.fmean(restart.score for restart in restarts)
    return f"{name:<14}{mean:.4f} +- {2 * standard_error(restarts):.4f}   seeds: {scores}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, nargs="+", required=True, help="run folders")
    parser.add_argument("--peer", type=Path, nargs="+", required=True, help="files of peer_finetune.py")
    arguments = parser.parse_args()
    own, other = [ours(folder) for folder in arguments.ours], [run for path in arguments.peer for run in peers(path)]
    recipes = {restart.recipe for restart in own + other}
    if len(recipes) != 1:
        sys.exit("error: the runs have different recipes:\n" + "\n".join(str(dict(same)) for same in recipes))
    for name, restarts in (("stepstone", own), ("transformers", other)):
        if len(restarts) < 2 or len({restart.seed for restart in restarts}) != len(restarts):
            sys.exit(f"error: {name} has {len(restarts)} runs, expected two or more with different seeds")
    print(", ".join(f"{name} {value}" for name, value in recipes.pop()))
    print("mean +- two standard errors of the mean")
    print(line("stepstone", own))
    print(line("transformers", other))
    difference = statistics.fmean(r.score for r in own) - statistics.fmean(r.score for r in other)
    bound = 2 * math.hypot(standard_error(own), standard_error(other))
    within = abs(difference) <= bound
    print(f"difference    {difference:+.4f}, two standard errors of it {bound:.4f}: {'within' if within else 'BEYOND'}")
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
