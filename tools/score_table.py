"""Prints, for each task, the mean score from the pretrained encoder beside the best constant answer, as a Markdown table.

    python tools/score_table.py STUDY/observations.csv ...

Two standard errors are those of the dev sample, 2 sqrt(s (1 - s) / n): exact for an accuracy over independent examples, a guide for
other metrics. The last column says whether the score is that far above the best constant answer.
"""

import argparse
import math
from pathlib import Path

import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("observations", type=Path, nargs="+")
    frame = pd.concat([pd.read_csv(path) for path in parser.parse_args().observations])
    own = (frame["intermediate"] == "none") | (frame["role"] == "intermediate")
    frame = frame[own & frame["primary"] & (frame["status"] == "ok")]
    print("| task | metric | training examples | dev | runs | score | best constant | two standard errors | beaten |")
    print("|---|---|---|---|---|---|---|---|---|")
    for task, runs in frame.groupby("task"):
        first, score = runs.iloc[0], runs["score"].mean()
        error = 2 * math.sqrt(max(score * (1 - score), 0) / first["n_dev"])
        beaten = "yes" if score - first["majority_score"] > error else "no"
        print(
            f"| {task} | {first['metric']} | {first['n_train']:,} | {first['n_dev']:,.0f} | {len(runs)} | {score:.3f} "
            f"| {first['majority_score']:.3f} | {error:.3f} | {beaten} |"
        )


if __name__ == "__main__":
    main()
