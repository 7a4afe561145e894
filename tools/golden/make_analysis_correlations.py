"""Writes the golden numbers of stepstone-analysis' correlations and of the structure of its map.

Usage: python make_analysis_correlations.py crates/stepstone-analysis/tests/golden
Every number is SciPy's, statsmodels' or pingouin's, or is made here by the definition in pure Python (permutations,
resamples, the first principal component by numpy.linalg.svd). Undefined is null.
"""
import datetime
import itertools
import json
import math
import platform
import sys
import warnings
from pathlib import Path

import numpy
import pandas
import pingouin
import scipy
import statsmodels
import statsmodels.formula.api as formula
from scipy import stats
from statsmodels.stats.multitest import multipletests

MASK = 2**64 - 1
SEED = 20200705
PERMUTATIONS, BOOTSTRAPS = 499, 200


class SplitMix64:
    def __init__(self, state):
        self.state = state

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) * bound) >> 64


def permutations(k):
    rng, orders = SplitMix64(SEED), []
    for _ in range(PERMUTATIONS):
        order = list(range(k))
        for i in range(k - 1, 0, -1):
            j = rng.below(i + 1)
            order[i], order[j] = order[j], order[i]
        orders.append(order)
    return orders


def resamples(k):
    rng = SplitMix64(SEED + 1)
    return [[rng.below(k) for _ in range(k)] for _ in range(BOOTSTRAPS)]


def header():
    modules = [numpy, pandas, scipy, statsmodels, pingouin]
    return {
        "made_by": "tools/golden/make_analysis_correlations.py",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        **{module.__name__: module.__version__ for module in modules},
    }


def constant(values):
    return len(values) == 0 or max(values) == min(values)


def coefficient(test, x, y):
    """(coefficient, p): null below 3 rows or for a constant column; no p below 4 rows; p of |r| = 1 is 0."""
    if len(x) < 3 or constant(x) or constant(y):
        return None, None
    r, p = (float(value) for value in test(x, y))
    if len(x) < 4:
        return r, None
    return r, p


def spearman(x, y):
    r, p = coefficient(stats.spearmanr, x, y)
    return r, 0.0 if p is not None and abs(r) >= 1 - 1e-12 else p


def pearson(x, y):
    r, p = coefficient(stats.pearsonr, x, y)
    return r, 0.0 if p is not None and abs(r) >= 1 - 1e-12 else p


def kendall(x, y):
    return coefficient(lambda x, y: stats.kendalltau(x, y, method="asymptotic"), x, y)


def within(pair):
    """pingouin's repeated-measures correlation."""
    deviations = pair[["x", "y"]] - pair.groupby("i")[["x", "y"]].transform("mean")
    df = len(pair) - pair["i"].nunique() - 1
    if len(pair) < 3 or all(abs(deviations["x"]) < 1e-12) or all(abs(deviations["y"]) < 1e-12):
        return None, None
    if df < 1 or pair["i"].nunique() < 3:
        r = float(numpy.corrcoef(deviations["x"], deviations["y"])[0, 1])
        return r, None if df < 1 else float(2 * stats.t.sf(abs(r) * math.sqrt(df / (1 - r * r)), df))
    found = pingouin.rm_corr(pair, x="x", y="y", subject="i")
    return float(found["r"].iloc[0]), float(found["pval"].iloc[0])


def permuted(x_blocks, y_blocks):
    """By the definition: all rows of an intermediate move together. Returns |rho| as observed and per permutation."""
    x = stats.rankdata(numpy.concatenate(x_blocks))
    y = stats.rankdata(numpy.concatenate(y_blocks))
    sizes = numpy.cumsum([len(block) for block in x_blocks])[:-1]
    y_ranks = numpy.split(y, sizes)
    rho = lambda order: abs(numpy.corrcoef(x, numpy.concatenate([y_ranks[c] for c in order]))[0, 1])
    return rho(range(len(x_blocks))), numpy.array([rho(order) for order in permutations(len(x_blocks))])


def hits(largest, observed):
    return (1 + int((largest >= observed - 1e-9).sum())) / (1 + len(largest))


def bootstrap(pair):
    names = sorted(pair["i"].unique())
    blocks = [pair[pair["i"] == name] for name in names]
    rhos = []
    for draw in resamples(len(names)):
        rows = pandas.concat([blocks[c] for c in draw])
        if len(rows) >= 3 and not constant(rows["x"]) and not constant(rows["y"]):
            rhos.append(float(stats.spearmanr(rows["x"], rows["y"])[0]))
    if len(rhos) < 100:
        return None, None
    return [float(q) for q in numpy.quantile(rhos, [0.025, 0.975])]


def partial(table, x, y, means):
    """First component of the standardised ranks of the other columns' means, held fixed by pingouin."""
    names, k = means.index, len(means)
    if k < 5 or constant(means["x"]) or constant(means["y"]):
        return None, None
    others = table.groupby("i").mean().drop(columns=["seed"]).round(9).loc[names].drop(columns=[x, y])
    others = others.dropna(axis=1)
    others = others.loc[:, others.nunique() > 1]
    if others.shape[1] < 3:
        return None, None
    ranks = others.rank()
    standard = (ranks - ranks.mean()) / ranks.std(ddof=0)
    u, s, _ = numpy.linalg.svd(standard.to_numpy(), full_matrices=False)
    data = pandas.DataFrame({"x": means["x"].rank(), "y": means["y"].rank(), "g": u[:, 0] * s[0]})
    found = pingouin.partial_corr(data, x="x", y="y", covar="g")
    return float(found["r"].iloc[0]), float(found["p_val"].iloc[0])


def leave_one_out(means):
    whole, _ = spearman(means["x"], means["y"])
    if whole is None:
        return None, None, None
    left = {name: spearman(means["x"].drop(name), means["y"].drop(name))[0] for name in means.index}
    left = {name: rho for name, rho in left.items() if rho is not None}
    if not left:
        return None, None, None
    furthest = max(abs(rho - whole) for rho in left.values())
    name = next(name for name, rho in left.items() if abs(rho - whole) >= furthest - 1e-12)
    return min(left.values()), max(left.values()), name


def describe(table, x, y, kind):
    pair = table[["i", "seed", x, y]].dropna().rename(columns={x: "x", y: "y"})
    names = sorted(pair["i"].unique())
    found = {"x": x, "y": y, "kind": kind, "n": len(pair), "k": len(names)}
    found["rho"], found["p"] = spearman(pair["x"], pair["y"])
    found["reason"] = None if found["rho"] is not None else "few" if len(pair) < 3 else "constant"
    found["pearson"], found["p_pearson"] = pearson(pair["x"], pair["y"])
    found["tau_b"], found["p_tau"] = kendall(pair["x"], pair["y"])
    means = pair.groupby("i")[["x", "y"]].mean().round(9)
    found["rho_means"], found["p_means"] = spearman(means["x"], means["y"])
    rho, k = found["rho_means"], len(names)
    found["lo_means"] = found["hi_means"] = None
    if rho is not None and k > 3 and abs(rho) < 1 - 1e-12:
        half = stats.norm.ppf(0.975) * math.sqrt((1 + rho * rho / 2) / (k - 3))
        found["lo_means"], found["hi_means"] = math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)
    found["r_within"], found["p_within"] = within(pair)
    seeds = [tuple(pair[pair["i"] == name]["seed"]) for name in names]
    balanced = all(one == seeds[0] for one in seeds)
    blocks = lambda column: [pair[pair["i"] == name][column].to_numpy() for name in names]
    found["p_perm"] = found["perm_on"] = None
    largest = None
    if k >= 4 and balanced and found["rho"] is not None:
        observed, largest = permuted(blocks("x"), blocks("y"))
        found["p_perm"], found["perm_on"] = hits(largest, observed), "rows"
    elif k >= 4 and not balanced and found["rho_means"] is not None:
        one = lambda column: [[value] for value in means[column]]
        observed, largest = permuted(one("x"), one("y"))
        found["p_perm"], found["perm_on"] = hits(largest, observed), "means"
    found["boot_lo"], found["boot_hi"] = bootstrap(pair) if len(pair) else (None, None)
    found["rho_partial"], found["p_partial"] = partial(table, x, y, means)
    found["loo_min"], found["loo_max"], found["loo_name"] = leave_one_out(means)
    return found, (None if largest is None else (observed, largest))


def families(pairs, table, targets):
    def adjusted(p, method):
        defined = [value for value in p if value is not None]
        values = iter(multipletests(defined, method=method)[1] if defined else [])
        return [None if value is None else float(next(values)) for value in p]

    rows, means = [pair["p"] for pair in pairs], [pair["p_means"] for pair in pairs]
    again = [pair["p"] for pair in pairs if pair["kind"] == "target-target"]
    own = [spearman(table[t].dropna(), table[t].dropna())[1] for t in targets]
    entries = rows + again + own
    columns = {
        "holm_distinct": adjusted(rows, "holm"), "bh_distinct": adjusted(rows, "fdr_bh"),
        "holm_means": adjusted(means, "holm"), "bh_means": adjusted(means, "fdr_bh"),
        "holm_acl2020": adjusted(entries, "holm"),
    }
    for i, pair in enumerate(pairs):
        pair.update({name: values[i] for name, values in columns.items()})
    count = lambda p: sum(value is not None for value in p)
    return {"acl2020": count(entries), "distinct": count(rows), "means": count(means)}


def reliability(table, task):
    scores = table[["i", "seed", task]].dropna()
    k, n = scores["i"].nunique(), len(scores)
    found = {"task": task, "k": k, "n": n, "icc1": None, "icck": None, "F": None, "p": None}
    groups = [group[task].to_numpy() for _, group in scores.groupby("i")]
    if k < 2 or n <= k or constant(scores[task]):
        return found
    if all(constant(group) for group in groups):
        return {**found, "icc1": 1.0, "icck": 1.0, "p": 0.0}
    found["F"], found["p"] = (float(value) for value in stats.f_oneway(*groups))
    if all(len(group) == len(groups[0]) for group in groups):
        scores = scores.assign(place=scores.groupby("i").cumcount())
        icc = pingouin.intraclass_corr(scores, targets="i", raters="place", ratings=task).set_index("Type")["ICC"]
        found["icc1"], found["icck"] = float(icc["ICC(1,1)"]), float(icc["ICC(1,k)"])
    else:
        size = (n - sum(len(group) ** 2 for group in groups) / n) / (k - 1)
        found["icc1"] = (found["F"] - 1) / (found["F"] + size - 1)
        found["icck"] = 1 - 1 / found["F"]
    return found


def study(seed, k, seeds, targets, probes, style):
    """A score table; `style` picks ties, constant columns, missing cells or uneven seeds."""
    rng = numpy.random.default_rng(seed)
    names = [f"i{c:02}" for c in range(k)]
    rows = [(name, r) for name in names for r in range(seeds)]
    table = pandas.DataFrame(rows, columns=["i", "seed"])
    factor = rng.normal(size=k)
    for j in range(targets + probes):
        effect = factor * rng.uniform(0, 2) + rng.normal(size=k)
        values = 70 + 3 * numpy.repeat(effect, seeds) + rng.normal(size=len(rows))
        if "ties" in style:
            values = numpy.round(values / 4) * 4
        if "constant" in style and j in (1, targets):
            values = numpy.full(len(rows), 50.1)
        if "missing" in style:
            values[rng.random(len(rows)) < 0.15] = numpy.nan
        table[("t" if j < targets else "u") + f"{j:02}"] = values
    if "uneven" in style:
        table = table[~((table["i"] == names[0]) & (table["seed"] == 0))].reset_index(drop=True)
    scores = [column for column in table if column not in ("i", "seed")]
    return table.dropna(subset=scores, how="all").reset_index(drop=True)


def correlate(table):
    columns = [column for column in table if column not in ("i", "seed")]
    targets, probes = [c for c in columns if c[0] == "t"], [c for c in columns if c[0] == "u"]
    named = [(a, b, "target-target") for a, b in itertools.combinations(targets, 2)]
    named += [(a, b, "target-probe") for a in targets for b in probes]
    found = [describe(table, *pair) for pair in named]
    pairs = [pair for pair, _ in found]
    probe_maxima = [m for pair, m in found if m is not None and pair["kind"] == "target-probe"]
    for pair, one in found:
        pair["p_maxt"] = None
        if one is not None and pair["kind"] == "target-probe":
            pair["p_maxt"] = hits(numpy.max([largest for _, largest in probe_maxima], axis=0), one[0])
    sizes = families(pairs, table, targets)
    scores = {column: [None if math.isnan(v) else float(v) for v in table[column]] for column in columns}
    return {
        "rows": [[name, int(seed)] for name, seed in zip(table["i"], table["seed"])],
        "scores": scores,
        "family_sizes": sizes,
        "pairs": pairs,
        "reliability": [reliability(table, column) for column in columns],
    }


def additive(seed, rows, columns, missing):
    """statsmodels' least squares with sum-to-zero effects, and Tukey's column added to it."""
    rng = numpy.random.default_rng(seed)
    data = pandas.DataFrame(
        [(f"i{i:02}", f"t{j:02}", rng.normal() + i * 0.7 - j * 0.4 + 0.2 * i * j) for i in range(rows) for j in range(columns)],
        columns=["i", "t", "y"],
    )
    data = data.drop(index=missing).reset_index(drop=True)
    full = formula.ols("y ~ C(i, Sum) + C(t, Sum)", data).fit()
    effects = lambda factor, levels: [float(full.params.filter(like=f"C({factor}, Sum)").to_numpy()[l]) for l in range(levels - 1)]
    a, b = effects("i", rows), effects("t", columns)
    a, b = a + [-sum(a)], b + [-sum(b)]
    data["product"] = [a[int(i[1:])] * b[int(t[1:])] for i, t in zip(data["i"], data["t"])]
    wider = formula.ols("y ~ C(i, Sum) + C(t, Sum) + product", data).fit()
    test = wider.compare_f_test(full)
    cells = [[None] * columns for _ in range(rows)]
    for i, t, y in zip(data["i"], data["t"], data["y"]):
        cells[int(i[1:])][int(t[1:])] = y
    return {
        "deltas": cells, "mu": float(full.params["Intercept"]), "intermediate": a, "task": b, "ss_total": full.centered_tss,
        "ss_residual": full.ssr, "r2": full.rsquared,
        "ss_intermediate": formula.ols("y ~ C(t)", data).fit().ssr - full.ssr,
        "ss_task": formula.ols("y ~ C(i)", data).fit().ssr - full.ssr,
        "tukey_F": float(test[0]), "tukey_p": float(test[1]), "tukey_df": int(wider.df_resid),
    }


def columns():
    """Plain pairs of columns for the three coefficients: random, tied, constant, short, skewed, perfect."""
    rng = numpy.random.default_rng(11)
    cases = [([], []), ([1.0], [2.0]), ([1.0, 2.0], [2.0, 1.0]), ([1.0, 2.0, 3.0], [2.0, 1.0, 3.0]), ([0.3] * 5, [1.0, 2, 3, 4, 5])]
    cases.append(([1.0, 2, 3, 4, 5, 6], [2.0, 4, 6, 8, 10, 12]))
    cases.append(([1.0, 2, 3, 4, 5, 6], [-1.0, -4, -9, -16, -25, -36]))
    for n in [4, 5, 7, 11, 33, 120]:
        x, noise = rng.normal(size=n), rng.normal(size=n)
        cases += [(x, x + noise), (numpy.round(x), numpy.round(x + noise)), (numpy.exp(3 * x), -x + noise), (1e6 + x, 1e-6 * noise)]
    found = []
    for x, y in cases:
        x, y = [float(v) for v in x], [float(v) for v in y]
        found.append({"x": x, "y": y, "spearman": spearman(x, y), "pearson": pearson(x, y), "kendall": kendall(x, y)})
    return found


def clean(value):
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    if isinstance(value, (float, numpy.floating)):
        assert math.isfinite(value)
        return float(value)
    return value


def write(folder, name, content):
    text = json.dumps({"header": header(), **clean(content)}, allow_nan=False)
    for mark in ['"pairs": [', '}, {"x"', '"reliability"', '"scores"', '}, {"task"']:
        text = text.replace(mark, ("},\n" + mark[3:]) if mark.startswith("}, ") else "\n" + mark)
    (folder / f"{name}.json").write_text(text + "\n")


def main():
    warnings.simplefilter("ignore")  # of intervals that pingouin cannot give for perfect correlations; none is used
    folder = Path(sys.argv[1])
    studies = {
        "whole": study(1, 11, 3, 4, 5, []),
        "ties": study(2, 8, 2, 3, 4, ["ties"]),
        "constant": study(3, 6, 3, 3, 3, ["constant"]),
        "missing": study(4, 7, 3, 3, 4, ["missing"]),
        "uneven": study(5, 6, 2, 2, 4, ["uneven"]),
        "single": study(6, 9, 1, 2, 4, []),
        "four": study(7, 4, 3, 2, 2, []),
        "three": study(8, 3, 2, 2, 2, []),
        "two": study(9, 2, 1, 2, 1, []),
    }
    write(folder, "correlations", {"permutations": PERMUTATIONS, "bootstraps": BOOTSTRAPS, "studies": {n: correlate(t) for n, t in studies.items()}})
    write(folder, "coefficients", {"columns": columns()})
    maps = [additive(1, 4, 3, []), additive(2, 5, 6, [0, 7, 13]), additive(3, 11, 10, [50])]
    write(folder, "additivity", {"maps": maps})


if __name__ == "__main__":
    main()
