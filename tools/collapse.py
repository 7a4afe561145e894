"""Finds after how many steps a run no longer answers one label for everything: runs of more and more steps, task by task.

    python tools/collapse.py --program target/release/stepstone --model MODEL --data DATA --out FOLDER [--tasks ...] [--rates ...]

Each run is whole: warm-up and decay fit its steps. A climb ends at the first run in which, for every seed, the commonest predicted
label has at most 95 % of the dev examples. One JSON line per run goes to FOLDER/runs.jsonl; the table goes to standard output.
Broken off, the same command goes on where it was.
"""

import argparse
import json
import subprocess
from collections import Counter
from pathlib import Path

STEPS = [12, 25, 50, 100, 200]
COMMON = 0.95


def train(args: argparse.Namespace, task: str, rate: str, batch: int, steps: int, seed: int) -> dict:
    folder = args.out / f"{task}-{rate}-{batch}-{steps}-{seed}"
    command = [args.program.resolve(), "train", "--model", args.model, "--task", task, "--data", args.data, "--seed", seed, "--json"]
    command += ["--threads", 1, "--max-steps", steps, "--learning-rate", rate, "--batch-size", batch, "--evaluations", 1]
    command += ["--max-length", args.max_length, "--max-train", args.max_train, "--max-dev", args.max_dev, "--out", folder]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    scores = json.loads((folder / "scores.json").read_text())
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    common = Counter(line["predicted"] for line in lines).most_common(1)[0][1] / len(lines)
    for weights in folder.glob("model/*.safetensors"):
        weights.unlink()  # one set of weights per run would fill a disk
    score = scores["scores"][0]["value"]
    return dict(task=task, rate=rate, batch=batch, steps=steps, seed=seed, score=score, constant=scores["majority_score"], common=common)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["sst2", "cola", "mnli", "rte", "cb"])
    parser.add_argument("--rates", nargs="+", default=["5e-5"])
    parser.add_argument("--batches", nargs="+", type=int, default=[16])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--max-length", type=int, default=32)
    parser.add_argument("--max-train", type=int, default=400)
    parser.add_argument("--max-dev", type=int, default=60)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    record = args.out / "runs.jsonl"
    known = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    key = ("task", "rate", "batch", "steps", "seed")
    done = {tuple(run[name] for name in key): run for run in known}
    print("| task | learning rate | batch | share of the commonest predicted label after steps | steps needed |\n|---|---|---|---|---|")
    for task in args.tasks:
        for rate in args.rates:
            for batch in args.batches:
                shares, needed = [], None
                for steps in STEPS:
                    runs = []
                    for seed in args.seeds:
                        run = done.get((task, rate, batch, steps, seed))
                        if run is None:
                            run = train(args, task, rate, batch, steps, seed)
                            with record.open("a") as file:
                                file.write(json.dumps(run) + "\n")
                        runs.append(run)
                    common = max(run["common"] for run in runs)
                    shares.append(f"{steps}: {common:.2f}")
                    if common <= COMMON:
                        needed = steps
                        break
                print(f"| {task} | {rate} | {batch} | {', '.join(shares)} | {needed or f'over {STEPS[-1]}'} |", flush=True)


if __name__ == "__main__":
    main()
