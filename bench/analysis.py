"""Times `stepstone analyze` beside pandas + SciPy on the same observations, in turns.

Usage: python bench/analysis.py target/release/stepstone [--rounds 5] [--big-rounds 1] [--threads 2]

Both read the CSV, and per cell compute mean, sd, delta, Welch's and the moderated interval, Holm and BH; the averages
over targets; and for every pair of columns Spearman, Pearson and Kendall over rows, Spearman over means, Holm, a
cluster permutation test (9,999) and a cluster bootstrap (2,000). The peer is written as a careful pandas user would
write it: vectorised over columns and resamples, one SciPy call where SciPy has one. What it does not do and stepstone
does (best starts, partial and leave-one-out correlations, additivity, the report) counts for the peer.

On the big file the peer's resampling is timed on a share of the resamples and scaled up; the table says so.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {  # intermediates, targets, probes, restarts
    "1,260 observations": (11, 10, 25, 3),
    "1,000,000 observations": (24, 10, 30, 1000),
}


def make_file(path, shape):
    import numpy as np
    import pandas as pd

    intermediates, targets, probes, seeds = shape
    rng = np.random.default_rng(7)
    names = ["none"] + [f"intermediate-{i:02d}" for i in range(intermediates)]
    quality = np.concatenate([[0.0], rng.normal(0, 3, intermediates)])
    frames = []
    for place in range(targets + probes):
        role = "target" if place < targets else "probe"
        effect = quality * rng.uniform(0.2, 1) + rng.normal(0, 1, len(names))
        points = rng.uniform(55, 85) + effect[:, None] + rng.normal(0, rng.uniform(0.3, 2), (len(names), seeds))
        frames.append(pd.DataFrame({
            "study": "bench", "encoder": "made-up", "intermediate": np.repeat(names, seeds),
            "seed": np.tile(np.arange(seeds), len(names)), "task": f"{role}-{place:02d}", "role": role,
            "metric": "accuracy", "score": np.round(points.ravel() / 100, 5), "scale": 100, "n_dev": 1000,
        }))
    pd.concat(frames).to_csv(path, index=False)


def peer(path, share):
    """The same work with pandas and SciPy; resamples times `share`. Prints seconds, by part."""
    import numpy as np
    import pandas as pd
    from scipy import optimize, special, stats
    from statsmodels.stats.multitest import multipletests

    clock = [time.perf_counter()]
    parts = {}

    def lap(name):
        clock.append(time.perf_counter())
        parts[name] = clock[-1] - clock[-2]

    frame = pd.read_csv(path)
    frame["points"] = frame["score"] * frame["scale"]
    lap("read")

    for role in ("target", "probe"):
        own = frame[frame["role"] == role]
        arms = own.groupby(["task", "intermediate"])["points"].agg(["count", "mean", "var"]).reset_index()
        d = arms["count"] - 1
        e = np.log(arms["var"]) - special.digamma(d / 2) + np.log(d / 2)
        center = e.groupby(arms["task"]).transform("mean")
        excess = ((e - center) ** 2).sum() / (len(arms) - arms["task"].nunique()) - special.polygamma(1, d / 2).mean()
        df0 = 2 * optimize.brentq(lambda y: special.polygamma(1, y) - excess, 1e-4, 1e8) if excess > 0 else np.inf
        prior = np.exp(center + special.digamma(df0 / 2) - np.log(df0 / 2)) if np.isfinite(df0) else arms.groupby("task")["var"].transform("mean")
        arms["s2"] = (df0 * prior + d * arms["var"]) / (df0 + d) if np.isfinite(df0) else prior
        base = arms[arms["intermediate"] == "none"].set_index("task")
        cells = arms[arms["intermediate"] != "none"].join(base, on="task", rsuffix="_base")
        cells["delta"] = cells["mean"] - cells["mean_base"]
        se = np.sqrt(cells["s2"] / cells["count"] + cells["s2_base"] / cells["count_base"])
        f = np.minimum(df0 + d.max(), d.sum())
        p = 2 * stats.t.sf(np.abs(cells["delta"] / se), f)
        stats.t.ppf(0.975, f) * se
        multipletests(p, method="holm"), multipletests(p, method="fdr_bh")
        scores = {key: group.to_numpy() for key, group in own.groupby(["task", "intermediate"])["points"]}
        for task, name in scores:
            if name != "none":
                test = stats.ttest_ind(scores[task, name], scores[task, "none"], equal_var=False)
                test.confidence_interval(0.95)
    lap("cells")

    targets = frame[frame["role"] == "target"].pivot(index=["intermediate", "seed"], columns="task", values="points")
    targets.mean(axis=1).groupby("intermediate").agg(["mean", "var", "count"])
    lap("averages")

    table = frame[frame["intermediate"] != "none"].pivot(index=["intermediate", "seed"], columns="task", values="points")
    table = table[sorted(table.columns, key=lambda name: (not name.startswith("target"), name))]
    count = targets.shape[1]
    columns = table.to_numpy()
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    pairs += [(a, b) for a in range(count) for b in range(count, columns.shape[1])]
    means = table.groupby("intermediate").mean().to_numpy()
    results = {"rows": [], "means": []}
    for a, b in pairs:
        results["rows"].append(stats.spearmanr(columns[:, a], columns[:, b]).pvalue)
        results["means"].append(stats.spearmanr(means[:, a], means[:, b]).pvalue)
        stats.pearsonr(columns[:, a], columns[:, b])
        stats.kendalltau(columns[:, a], columns[:, b], method="asymptotic")
    for p in results.values():
        multipletests(p, method="holm"), multipletests(p, method="fdr_bh")
    lap("correlations")

    rng = np.random.default_rng(20200705)
    clusters = table.index.get_level_values(0)
    k, seeds = clusters.nunique(), len(table) // clusters.nunique()
    ranks = stats.rankdata(columns, axis=0)
    centred = (ranks - ranks.mean(axis=0)).reshape(k, seeds, -1)
    left, right = np.array(pairs).T
    crossed = np.einsum("csp,dsp->pcd", centred[:, :, left], centred[:, :, right], optimize=True)
    permutations = np.array([rng.permutation(k) for _ in range(int(9_999 * share))])
    rows = np.arange(k)
    for product in crossed:
        observed = abs(np.trace(product))
        np.mean(np.abs(product[rows, permutations].sum(axis=1)) >= observed - 1e-9)
    lap("permutation")

    blocks = columns.reshape(k, seeds, -1)
    boot = []
    for _ in range(int(2_000 * share)):
        resampled = stats.rankdata(blocks[rng.integers(0, k, k)].reshape(k * seeds, -1), axis=0)
        boot.append(np.corrcoef(resampled, rowvar=False)[left, right])
    np.quantile(boot, [0.025, 0.975], axis=0)
    lap("bootstrap")
    scaled = {name: seconds / share if name in ("permutation", "bootstrap") else seconds for name, seconds in parts.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": sum(scaled.values()), "parts": {name: round(s, 3) for name, s in scaled.items()}, "peak_mib": peak}))


def time_peer(path, share, threads):
    """Seconds of the work alone, without imports, and wall seconds of the whole process."""
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, "--peer", str(path), "--share", str(share)]
    start = time.perf_counter()
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(answer.stdout.splitlines()[-1]) | {"process_seconds": time.perf_counter() - start}


def time_stepstone(program, path, threads):
    """Wall seconds and peak MiB of the whole process, from start to exit."""
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads)}
    with open(os.devnull, "w") as nowhere:
        start = time.perf_counter()
        process = subprocess.Popen([program, "analyze", str(path)], stdout=nowhere, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{program} analyze {path}: exit status {os.waitstatus_to_exitcode(status)}")
    return {"seconds": seconds, "peak_mib": usage.ru_maxrss // 1024}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", default="target/release/stepstone")
    parser.add_argument("--rounds", type=int, default=5, help="turns on the small file")
    parser.add_argument("--big-rounds", type=int, default=1, help="turns on the big file; 0 skips it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--big-share", type=float, default=0.01, help="share of the peer's resamples that is timed on the big file")
    parser.add_argument("--peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=float, default=1.0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peer:
        return peer(arguments.peer, arguments.share)
    print("| file | stepstone, s | peak MiB | pandas + SciPy, s | peak MiB | ratio of medians | with imports, s | ratio |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for (name, shape), rounds, share in zip(SHAPES.items(), (arguments.rounds, arguments.big_rounds), (1.0, arguments.big_share)):
            if rounds == 0:
                continue
            path = Path(folder) / "observations.csv"
            make_file(path, shape)
            ours, theirs = [], []
            for _ in range(rounds):
                ours.append(time_stepstone(arguments.program, path, arguments.threads))
                theirs.append(time_peer(path, share, arguments.threads))
            median = lambda runs, key="seconds": statistics.median(run[key] for run in runs)
            peak = lambda runs: max(run["peak_mib"] for run in runs)
            scaled = "" if share == 1.0 else f" (resampling from {share:.0%})"
            whole = median(theirs, "process_seconds")
            process = f"{whole:.1f} | {whole / median(ours):.0f}" if share == 1.0 else "- | -"
            print(f"| {name} | {median(ours):.2f} | {peak(ours)} | {median(theirs):.1f}{scaled} | {peak(theirs)} | {median(theirs) / median(ours):.0f} | {process} |")
            print(json.dumps({"file": name, "stepstone": ours, "peer": theirs}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
