"""The kernels' benchmarks as a Markdown table: share of the machine's multiply-adds, or elements a second.

    python3 bench/kernels.py

Runs `cargo bench -p stepstone-kernels` and reads what divan prints. A kernel's rate is its median; the peak, for the same
number of threads, is the fastest sample of multiply-adds in registers, as a peak has no bad luck.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ["cargo", "bench", "-p", "stepstone-kernels", "--bench", "kernels", "--", "--max-time", "0.5"]
UNITS = {"Kitem/s": 1e3, "Mitem/s": 1e6, "Gitem/s": 1e9, "Titem/s": 1e12}
SHARES = ("linear", "heads")


def rates(text: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """Path in divan's tree to the fastest and the median rate, in items a second."""
    found, path = {}, []
    for line in text.splitlines():
        # A node is indented 3 columns more than its parent; its rate is alone on the next line.
        node = re.match(r"^([│ ]*)[├╰]─ (\S+(?: \S+\))?)", line)
        if node:
            path = path[: len(node[1]) // 3] + [node[2]]
        numbers = [float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+) ([KMGT]item/s)", line)]
        if numbers:
            found[tuple(path)] = (numbers[0], numbers[2])
    return found


def main() -> None:
    output = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True)
    if output.returncode != 0:
        sys.exit(output.stderr)
    found = rates(output.stdout)
    threads = sorted({path[1] for path in found if path[0] == "peak"})
    peak = {count: found["peak", count][0] for count in threads}
    print(f"| kernel | sizes | {' | '.join(f'{count} thread(s)' for count in threads)} |")
    print(f"|---|---|{'---:|' * len(threads)}")
    print(f"| peak, 10^9 operations a second | | {' | '.join(f'{peak[count] / 1e9:.0f}' for count in threads)} |")
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for (group, *path), (_, median) in found.items():
        if group == "peak":
            continue
        name, count, *sizes = path
        share = f"{100 * median / peak[count]:.0f} %" if group in SHARES else f"{median / 1e9:.2f} G/s"
        rows.setdefault((f"{group} {name}", " ".join(sizes)), {})[count] = share
    for (kernel, sizes), cells in rows.items():
        print(f"| {kernel} | {sizes} | {' | '.join(cells[count] for count in threads)} |")


if __name__ == "__main__":
    main()
