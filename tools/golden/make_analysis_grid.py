"""Writes a made-up grid of the ACL 2020 study's shape, and its results by SciPy and statsmodels.

Usage: python tools/golden/make_analysis_grid.py crates/stepstone-analysis/tests/golden

grid.csv: 11 intermediates x 3 restarts + baseline on 10 targets and 25 probes (1,260 observations, seeded). As in the
study, three intermediates damage the model, restarts of one intermediate are alike, and some runs are degenerate, a
few of them in the baseline. grid.json: the numbers of cells, averages, best starts and families of correlations.
"""
import csv
import datetime
import itertools
import json
import platform
import sys
from pathlib import Path

import numpy as np
import scipy
import statsmodels
from scipy import optimize, special, stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests

INTERMEDIATES = "ccg commonsenseqa cosmosqa hellaswag mnli qamr qasrl qqp scitail socialiqa sst2".split()
TARGETS = "boolq cb commonsenseqa-t copa cosmosqa-t multirc record rte wic wsc".split()
PROBES = (
    "aj-cola aj-coord aj-def aj-eos aj-wh ep-const ep-coref ep-dpr ep-ner ep-pos ep-rel ep-spr1 ep-spr2 ep-srl ep-ud "
    "se-bshift se-coordinv se-objnum se-sentlen se-somo se-subjnum se-tense se-topconst se-treedepth se-wc"
).split()
DAMAGED = {"ccg": -9.0, "qqp": -7.0, "socialiqa": -8.0}
SEEDS = 3
ALPHA = 0.05


def make_grid():
    """Rows of grid.csv; scores are points rounded to two decimals, as if read from a table."""
    rng = np.random.default_rng(20200705)
    quality = {name: DAMAGED.get(name, rng.normal(1.0, 1.5)) for name in INTERMEDIATES} | {"none": 0.0}
    luck = {(name, seed): rng.normal(0, 0.3) for name in quality for seed in range(SEEDS)}
    rows = []
    for role, tasks in (("target", TARGETS), ("probe", PROBES)):
        for task in tasks:
            base, noise, slope = rng.uniform(60, 88), rng.uniform(0.2, 1.5), rng.uniform(0.2, 1.2)
            own = {name: rng.normal(0, 2.5) for name in quality}
            for name in sorted(quality):
                spread = noise * np.sqrt(4 / rng.chisquare(4))  # arms of one task differ several-fold
                for seed in range(SEEDS):
                    score = base + slope * quality[name] + own[name] + luck[name, seed] + rng.normal(0, spread)
                    broken = rng.uniform() < (0.10 if task.startswith("aj-") else 0.01)
                    rows.append([name, seed, task, role, 50.0 if broken else round(min(score, 99.0), 2), 1, 1 if broken else 2])
    return rows


def variance(values):
    return 0.0 if max(values) == min(values) else float(np.var(values, ddof=1))


class Prior:
    """Moderated variances of one map (Smyth 2004, the task as a factor for the log variance)."""

    def __init__(self, arms_by_task):
        """`arms_by_task`: for each task the lists of clean scores of its arms."""
        self.floor, fitted = {}, {}
        for task, arms in arms_by_task.items():
            spreads = [(len(arm) - 1, variance(arm)) for arm in arms if len(arm) >= 2]
            positive = [s2 for _, s2 in spreads if s2 > 0]
            self.floor[task] = 0.01 * float(np.median(positive)) if positive else 0.0
            if self.floor[task] > 0:
                fitted[task] = [(d, max(s2, self.floor[task])) for d, s2 in spreads]
        unbiased = lambda d, s2: np.log(s2) - special.digamma(d / 2) + np.log(d / 2)
        center = {task: np.mean([unbiased(*arm) for arm in arms]) for task, arms in fitted.items()}
        every = [(task, arm) for task, arms in fitted.items() for arm in arms]
        if len(every) - len(fitted) < 3:
            raise SystemExit("the grid is made to be large enough for a prior")
        squares = sum((unbiased(*arm) - center[task]) ** 2 for task, arm in every)
        excess = squares / (len(every) - len(fitted)) - np.mean([special.polygamma(1, arm[0] / 2) for _, arm in every])
        self.df = np.inf
        if excess > 0:
            self.df = 2 * optimize.brentq(lambda y: special.polygamma(1, y) - excess, 1e-3, 1e9, xtol=1e-14, rtol=8.9e-16)
        self.task = {}
        for task, arms in fitted.items():
            total = sum(d for d, _ in arms)
            if np.isinf(self.df):
                prior = sum(d * s2 for d, s2 in arms) / total
            else:
                prior = np.exp(center[task] + special.digamma(self.df / 2) - np.log(self.df / 2))
            self.task[task] = (float(prior), total)

    def spread(self, task, scores, mixture):
        """Variance and df of one arm, or None."""
        d = len(scores) - 1
        if mixture:
            s2 = max(variance(scores), self.floor[task]) if d > 0 else 0.0
            return (s2, d) if s2 > 0 else None
        if task not in self.task or d < 0:
            return None
        prior, total = self.task[task]
        if d == 0 or np.isinf(self.df):
            return prior, min(self.df, total)
        s2 = max(variance(scores), self.floor[task])
        return (self.df * prior + d * s2) / (self.df + d), min(self.df + d, total)


class Map:
    """One role in one mode."""

    def __init__(self, rows, role, mode):
        self.mode = mode
        self.all, self.clean = {}, {}
        for name, seed, task, row_role, score, _, distinct in rows:
            if row_role == role:
                self.all.setdefault((name, task), {})[seed] = score
                if distinct != 1:
                    self.clean.setdefault((name, task), {})[seed] = score
        self.tasks = TARGETS if role == "target" else PROBES
        arms = {task: [self.scores(name, task, "drop") for name in ["none", *INTERMEDIATES]] for task in self.tasks}
        self.prior = Prior(arms)

    def scores(self, name, task, mode=None):
        source = self.all if (mode or self.mode) == "keep" else self.clean
        return list(source.get((name, task), {}).values())

    def arm(self, name, task):
        """Mean, its variance and df."""
        scores = self.scores(name, task)
        mixture = self.mode == "keep" and len(scores) > len(self.scores(name, task, "drop"))
        spread = self.prior.spread(task, scores, mixture) if scores else None
        if spread is None:
            return (float(np.mean(scores)) if scores else None), None, None
        return float(np.mean(scores)), spread[0] / len(scores), spread[1]


def difference(x, y):
    """se, df, lo, hi, t, p of a moderated difference; None where a spread is unknown."""
    if x[1] is None or y[1] is None:
        return None
    delta, se, df = x[0] - y[0], np.sqrt(x[1] + y[1]), min(x[2], y[2])
    half = stats.t.ppf(1 - ALPHA / 2, df) * se
    return [delta, se, df, delta - half, delta + half, delta / se, 2 * stats.t.sf(abs(delta) / se, df)]


def welch(x, y):
    if len(x) < 2 or len(y) < 2 or (variance(x) == 0 and variance(y) == 0):
        return None
    test = stats.ttest_ind(x, y, equal_var=False)
    interval = test.confidence_interval(1 - ALPHA)
    se = np.sqrt(variance(x) / len(x) + variance(y) / len(y))
    return [se, test.df, interval.low, interval.high, test.pvalue]


def permutation(x, y):
    """By enumeration with the tolerance of 1e-9; scipy.stats.permutation_test, which refuses arms of one score and
    breaks ties at 1e-14, must agree but for ties."""
    pooled, total, observed = x + y, sum(x + y), abs(np.mean(x) - np.mean(y))
    parts = [sum(chosen) for chosen in itertools.combinations(pooled, len(x))]
    sizes = np.array([abs(part / len(x) - (total - part) / len(y)) for part in parts])
    p = float(np.mean(sizes >= observed - 1e-9))
    if min(len(x), len(y)) >= 2:
        statistic = lambda a, b, axis: np.abs(np.mean(a, axis=axis) - np.mean(b, axis=axis))
        test = stats.permutation_test((x, y), statistic, vectorized=True, alternative="greater", n_resamples=np.inf)
        assert test.pvalue <= p <= test.pvalue + np.mean(np.abs(sizes - observed) < 1e-9)
    return p


def paule_mandel(means, variances):
    """The root of the defining equation; combine_effects must agree where its iteration converges."""
    def excess(tau2):
        weights = 1 / (variances + tau2)
        return np.sum(weights * (means - np.sum(weights * means) / np.sum(weights)) ** 2) - (len(means) - 1)

    tau2 = optimize.brentq(excess, 0, 1e6, xtol=1e-13, rtol=8.9e-16) if excess(0) > 0 else 0.0
    fit = combine_effects(means, variances, method_re="iterated", atol=1e-13, maxiter=100000)
    assert fit.tau2 == 0 or abs(fit.tau2 - tau2) < 1e-6, (fit.tau2, tau2)
    return tau2


def cells_of(grid):
    """[intermediate, task, delta, [moderated], holm, bh, [welch], p_perm]; deltas that cannot be are null."""
    rows = []
    for name in INTERMEDIATES:
        for task in grid.tasks:
            x, y = grid.scores(name, task), grid.scores("none", task)
            if not x or not y:
                rows.append([name, task, None, None, None, None, None, None])
                continue
            found = difference(grid.arm(name, task), grid.arm("none", task))
            rows.append([name, task, np.mean(x) - np.mean(y), found, None, None, welch(x, y), permutation(x, y)])
    tested = [row for row in rows if row[3]]
    p = [row[3][6] for row in tested]
    for row, holm, bh in zip(tested, multipletests(p, method="holm")[1], multipletests(p, method="fdr_bh")[1]):
        row[4], row[5] = holm, bh
    return rows


def averages_of(grid):
    """[intermediate, mean, se, df, lo, hi, p, holm, task_var, gen_se, gen_df, expected_rank, rank_lo, rank_hi]."""
    delta = lambda name, task: np.mean(grid.scores(name, task)) - np.mean(grid.scores("none", task))
    common = [
        task for task in TARGETS if grid.scores("none", task) and all(grid.scores(name, task) for name in INTERMEDIATES)
    ]
    everyone = ["none", *INTERMEDIATES]

    def complete(name, source):
        seeds = range(SEEDS)
        rows = [[source[name, task].get(seed) for task in common] for seed in seeds]
        return [float(np.mean(row)) for row in rows if None not in row]

    clean = {name: complete(name, grid.clean) for name in everyone}
    shown = {name: complete(name, grid.all) for name in everyone} if grid.mode == "keep" else clean
    prior = Prior({"average": [clean[name] for name in everyone]})
    arm = {}
    for name in everyone:
        if len(shown[name]) < 2:
            parts = [grid.arm(name, task)[1:] for task in common]
            total = sum(v for v, _ in parts)
            arm[name] = (total / len(common) ** 2, total**2 / sum(v * v / f for v, f in parts))
            continue
        s2, df = prior.spread("average", shown[name], len(shown[name]) > len(clean[name]))
        arm[name] = (s2 / len(shown[name]), df)
    mean = {name: float(np.mean([delta(name, task) for task in common])) for name in INTERMEDIATES}
    rows = []
    for name in INTERMEDIATES:
        _, se, df, lo, hi, _, p = difference((mean[name], *arm[name]), (0.0, *arm["none"]))
        deltas = [delta(name, task) for task in common]
        errors = [difference(grid.arm(name, task), grid.arm("none", task)) for task in common]
        noise = np.mean([error[1] ** 2 if error else 0.0 for error in errors])
        task_var = max(0.0, np.var(deltas, ddof=1) - noise)
        rows.append([name, mean[name], se, df, lo, hi, p, None, task_var, np.sqrt(se**2 + task_var / len(common)), min(df, len(common) - 1)])
    for row, holm in zip(rows, multipletests([row[6] for row in rows], method="holm")[1]):
        row[7] = holm
    pairs = [(a, b) for i, a in enumerate(INTERMEDIATES) for b in INTERMEDIATES[i + 1 :]]
    tests = [difference((mean[a], *arm[a]), (mean[b], *arm[b])) for a, b in pairs]
    holm = multipletests([test[6] for test in tests], method="holm")[1]
    for row in rows:
        name, expected, better, worse = row[0], 1.0, 0, 0
        for (a, b), test, p in zip(pairs, tests, holm):
            if name in (a, b):
                ahead = test[5] if name == a else -test[5]
                expected += stats.t.sf(ahead, test[2])
                better += p < ALPHA and ahead < 0
                worse += p < ALPHA and ahead > 0
        row += [expected, 1 + int(better), len(INTERMEDIATES) - int(worse)]
    return common, rows


def best_of(grid):
    """[task, tau2, center, top, top_shrunk, [[name, delta, delta_shrunk, p_best, p_best_shrunk, contender]]]."""
    u = (np.arange(1000) + 0.5) / 1000

    def probabilities(arms):
        shares = []
        for i, (m, v, f) in enumerate(arms):
            values = m + np.sqrt(v) * stats.t.ppf(u, f)
            others = [stats.t.cdf((values - m2) / np.sqrt(v2), f2) for j, (m2, v2, f2) in enumerate(arms) if j != i]
            shares.append(np.mean(np.prod(others, axis=0)))
        return np.array(shares) / sum(shares)

    rows = []
    for task in TARGETS:
        names = [name for name in ["none", *INTERMEDIATES] if grid.arm(name, task)[1] is not None]
        if not grid.scores("none", task):
            continue
        arms = [grid.arm(name, task) for name in names]
        base = float(np.mean(grid.scores("none", task)))
        top = int(np.argmax([arm[0] for arm in arms]))
        tests = [difference(arms[top], arm) for i, arm in enumerate(arms) if i != top]
        holm = iter(multipletests([test[6] for test in tests], method="holm")[1])
        contender = [True if i == top else bool(next(holm) >= ALPHA) for i in range(len(arms))]
        means = np.array([arm[0] for name, arm in zip(names, arms) if name != "none"])
        variances = np.array([arm[1] for name, arm in zip(names, arms) if name != "none"])
        tau2 = paule_mandel(means, variances)
        weights = 1 / (variances + tau2)
        center = float(np.sum(weights * means) / np.sum(weights))
        share = variances / (variances + tau2)
        shrunk_means = iter(zip(means - share * (means - center), (1 - share) * variances + share**2 / np.sum(weights)))
        shrunk = [arm if name == "none" else (*next(shrunk_means), arm[2]) for name, arm in zip(names, arms)]
        p, p_shrunk = probabilities(arms), probabilities(shrunk)
        top_shrunk = max(range(len(shrunk)), key=lambda i: (round(shrunk[i][0], 9), arms[i][0]))
        candidates = [
            [name, arms[i][0] - base, shrunk[i][0] - base, p[i], p_shrunk[i], contender[i]] for i, name in enumerate(names)
        ]
        rows.append([task, tau2, center, names[top], names[top_shrunk], candidates])
    return rows


def families_of(rows, mode):
    """Significant pairs by Holm: acl2020 entries, distinct pairs on rows, pairs on means."""
    scores = {}
    for name, seed, task, _, score, _, distinct in rows:
        if name != "none" and (mode == "keep" or distinct != 1):
            scores[name, seed, task] = score
    keys = [(name, seed) for name in INTERMEDIATES for seed in range(SEEDS)]
    columns = [[scores.get((*key, task), np.nan) for key in keys] for task in TARGETS + PROBES]
    table = np.array(columns, dtype=float)
    count = len(TARGETS)
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    pairs += [(a, b) for a in range(count) for b in range(count, len(table))]
    by_rows, by_means = [], []
    for a, b in pairs:
        both = ~np.isnan(table[a]) & ~np.isnan(table[b])
        by_rows.append(stats.spearmanr(table[a][both], table[b][both]).pvalue)
        names = [name for (name, _), there in zip(keys, both) if there]
        mean = lambda values: [round(np.mean([v for v, n in zip(values[both], names) if n == name]), 9) for name in dict.fromkeys(names)]
        by_means.append(stats.spearmanr(mean(table[a]), mean(table[b])).pvalue)
    entries = by_rows + by_rows[: count * (count - 1) // 2] + [0.0] * count
    passed = lambda p: int(np.sum(multipletests(p, method="holm")[1] < ALPHA))
    return {"acl2020": [len(entries), passed(entries)], "distinct": [len(pairs), passed(by_rows)], "means": [len(pairs), passed(by_means)]}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.floating, float)):
        return "inf" if np.isinf(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value


def main():
    folder = Path(sys.argv[1])
    rows = make_grid()
    with open(folder / "grid.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["intermediate", "seed", "task", "role", "score", "scale", "n_distinct_pred"])
        writer.writerows(rows)
    golden = {
        "header": {
            "made_by": "tools/golden/make_analysis_grid.py",
            "date": datetime.date.today().isoformat(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "statsmodels": statsmodels.__version__,
        }
    }
    for mode in ("keep", "drop"):
        targets, probes = Map(rows, "target", mode), Map(rows, "probe", mode)
        common, averages = averages_of(targets)
        golden[mode] = plain({
            "prior_df": [targets.prior.df, probes.prior.df],
            "targets": cells_of(targets),
            "probes": cells_of(probes),
            "common": common,
            "averages": averages,
            "best": best_of(targets),
            "families": families_of(rows, mode),
        })
    lines = json.dumps(golden, allow_nan=False).replace("]], \"", "]],\n\"").replace("], [\"", "],\n[\"")
    (folder / "grid.json").write_text(lines + "\n")


if __name__ == "__main__":
    main()
