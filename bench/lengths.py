"""The sequence lengths that every step server trains on, and how they are cut into batches.

`python bench/lengths.py` prints the list that `stepstone bench` holds: 640 lengths, log-normal around 36, between 8 and 128.
"""

import math
import random
from pathlib import Path

SEQUENCES_PER_BATCH = 32
FILE = Path(__file__).parents[1] / "crates/stepstone-train/src/lengths.txt"


def generate() -> list[int]:
    generator = random.Random(20240607)
    drawn = (generator.lognormvariate(math.log(36.0), 0.42) for _ in range(640))
    return [max(8, min(128, round(length))) for length in drawn]


def read() -> list[int]:
    return [int(word) for word in FILE.read_text(encoding="utf-8").split()]


def in_order(batches: int) -> list[list[int]]:
    """The first `batches` batches of the list as it stands."""
    lengths = read()
    starts = range(0, batches * SEQUENCES_PER_BATCH, SEQUENCES_PER_BATCH)
    return [lengths[start : start + SEQUENCES_PER_BATCH] for start in starts]


def grouped(batches: int) -> list[list[int]]:
    """The same number of batches, each of sequences of similar length, spread evenly from the longest to the shortest."""
    lengths = sorted(read(), reverse=True)
    groups = [lengths[start : start + SEQUENCES_PER_BATCH] for start in range(0, len(lengths), SEQUENCES_PER_BATCH)]
    stride = len(groups) / batches
    return [groups[int(index * stride + stride / 2)] for index in range(batches)]


if __name__ == "__main__":
    print(*generate())
