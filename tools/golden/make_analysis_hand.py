"""Prints the numbers that stand inside the unit tests of crates/stepstone-analysis/src, test by test.

Usage: python tools/golden/make_analysis_hand.py

Every number is computed here by SciPy, statsmodels or pingouin, or by the formula written beside it; nothing is read from
the Rust code. The first line names the versions. Run it again when a test gets a new number, and copy the number by hand.
"""
import itertools
import platform
import warnings

import numpy
import pandas
import pingouin
import scipy
import statsmodels
import statsmodels.formula.api as formula
from scipy import integrate, optimize, special, stats
from statsmodels.stats.contingency_tables import StratifiedTable
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower


def show(name, *values):
    print(f"{name}: {', '.join(f'{float(value):.12g}' for part in values for value in numpy.ravel(part))}")


def additivity():
    """additivity.rs, four_by_three_by_statsmodels: ols with sum-to-zero effects, type II sums of squares, Tukey's column."""
    deltas = [[1.2, 0.3, 2.1], [0.4, -0.5, 0.9], [2.0, 1.9, 4.0], [-1.0, -0.2, -2.2]]
    data = pandas.DataFrame([(f"i{i}", f"t{j}", d) for i, row in enumerate(deltas) for j, d in enumerate(row)], columns=["i", "t", "d"])
    full = formula.ols("d ~ C(i, Sum) + C(t, Sum)", data).fit()
    rows, columns = full.params.filter(like="C(i").to_numpy(), full.params.filter(like="C(t").to_numpy()
    rows, columns = numpy.append(rows, -rows.sum()), numpy.append(columns, -columns.sum())
    show("additivity mu, rows, columns", full.params["Intercept"], rows, columns)
    without = {factor: formula.ols(f"d ~ C({factor})", data).fit().ssr for factor in "it"}
    show("additivity ss intermediate, task, residual, r2", without["t"] - full.ssr, without["i"] - full.ssr, full.ssr, full.rsquared)
    data["product"] = [rows[int(i[1])] * columns[int(t[1])] for i, t in zip(data["i"], data["t"])]
    tukey = formula.ols("d ~ C(i, Sum) + C(t, Sum) + product", data).fit()
    f, p, _ = tukey.compare_f_test(full)
    show("additivity tukey F, p, df", f, p, tukey.df_resid)
    show("additivity noise share, 0.5 / (residual / 6)", 0.5 / (full.ssr / 6))


def agreement():
    """agreement.rs, five_deltas_by_formula: Lin's 2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2) with divisor n; hypergeom."""
    x, y = numpy.array([1.0, 2.5, -0.5, 3.0, 0.2]), numpy.array([0.8, 2.0, 0.1, 3.6, -0.4])
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    show("agreement concordance", 2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))
    show("agreement rho, same sign", stats.spearmanr(x, y)[0], numpy.mean(numpy.sign(x) == numpy.sign(y)))
    show("agreement p of 3 of 3 among 5, of 2 of 3 among 11, of 2 of 3 among 4", [stats.hypergeom.sf(s - 1, n, 3, 3) for s, n in ((3, 5), (2, 11), (2, 4))])


def best():
    """best/probability.rs, three_candidates_by_scipy: over u, the mean of the product of the other two distribution functions.

    The code takes 1,000 midpoints, and so does the first line; the second integrates.
    """
    posteriors = [(0.0, 0.5, 4.0), (1.0, 0.5, 4.0), (1.5, 1.0, numpy.inf)]
    of = [stats.norm(c, s) if numpy.isinf(df) else stats.t(df, c, s) for c, s, df in posteriors]
    others = lambda own, x: numpy.prod([o.cdf(x) for j, o in enumerate(of) if j != own], axis=0)
    u = (numpy.arange(1000) + 0.5) / 1000
    shares = numpy.array([numpy.mean(others(own, of[own].ppf(u))) for own in range(3)])
    show("best probabilities, 1,000 midpoints", shares / shares.sum())
    show("best probabilities, integrated", [integrate.quad(lambda x: of[own].pdf(x) * others(own, x), -40, 40, limit=500, points=[0, 1, 1.5])[0] for own in range(3)])


def shrinkage():
    """best/shrinkage.rs, five_means_by_statsmodels: tau^2 and centre; shrunk means and variances by the formulas of `shrink`."""
    means, variances = numpy.array([2.1, -0.4, 3.3, 0.9, 1.2]), numpy.array([0.5, 0.4, 0.9, 0.3, 0.6])
    found = combine_effects(means, variances, method_re="iterated", atol=1e-14, maxiter=1000)
    share = variances / (variances + found.tau2)
    show("shrinkage tau2, centre", found.tau2, found.mean_effect_re)
    show("shrinkage means", means - share * (means - found.mean_effect_re))
    show("shrinkage variances", (1 - share) * variances + share**2 / (1 / (variances + found.tau2)).sum())


def multiple():
    """multiple.rs, five_p_values_by_statsmodels."""
    p = [0.001, 0.04, 0.03, 0.005, 0.2]
    show("multiple holm", multipletests(p, method="holm")[1])
    show("multiple bh", multipletests(p, method="fdr_bh")[1])


def coefficient():
    """coefficient.rs, eight_rows_with_ties_by_scipy and eleven_intermediates_by_formula (Bonett and Wright 2000)."""
    x, y = [1, 2, 2, 3, 4, 5, 6, 6], [2, 1, 3, 3, 5, 4, 7, 6]
    show("coefficient spearman r, p", *stats.spearmanr(x, y))
    show("coefficient kendall r, p", *stats.kendalltau(x, y, method="asymptotic"))
    show("coefficient pearson r, p", *stats.pearsonr(x, y))
    show("coefficient p of 0.7 on 9 df", 2 * stats.t.sf(0.7 * (9 / (1 - 0.49)) ** 0.5, 9))
    half = stats.norm.ppf(0.975) * ((1 + 0.49 / 2) / (11 - 3)) ** 0.5
    show("coefficient interval of 0.7, k = 11", numpy.tanh(numpy.arctanh(0.7) - half), numpy.tanh(numpy.arctanh(0.7) + half))


def partial():
    """correlations/general_factor.rs, partial_correlation_by_formula."""
    rho = (0.7 - 0.6 * 0.5) / ((1 - 0.36) * (1 - 0.25)) ** 0.5
    show("partial rho, p on 8 df", rho, 2 * stats.t.sf(rho * (8 / (1 - rho**2)) ** 0.5, 8))


def comparison():
    """comparison.rs, welch_by_scipy; permutation.rs on the same two arms."""
    x, y = [71.2, 72.5, 70.9], [69.8, 70.1, 70.6]
    found = stats.ttest_ind(x, y, equal_var=False)
    interval = found.confidence_interval(0.95)
    se = (numpy.mean(x) - numpy.mean(y)) / found.statistic
    show("comparison se, df, t, p, lo, hi", se, found.df, found.statistic, found.pvalue, *interval)
    mean_difference = lambda a, b, axis: numpy.mean(a, axis=axis) - numpy.mean(b, axis=axis)
    show("permutation p", stats.permutation_test((x, y), mean_difference, vectorized=True).pvalue)


def prior(tasks, d=2):
    """d0 and the prior variances of Smyth 2004, section 6, with the task as a factor; arms of d + 1 restarts."""
    logs = [numpy.log(s2) - special.digamma(d / 2) + numpy.log(d / 2) for s2 in tasks]
    arms = sum(map(len, tasks))
    squares = sum(((z - z.mean()) ** 2).sum() for z in logs)
    excess = squares / (arms - len(tasks)) - special.polygamma(1, d / 2)
    if excess <= 0:
        return numpy.inf, [numpy.mean(s2) for s2 in tasks]
    d0 = 2 * optimize.brentq(lambda y: special.polygamma(1, y) - excess, 1e-3, 1e9, xtol=1e-14, rtol=8.9e-16)
    return d0, [numpy.exp(z.mean() + special.digamma(d0 / 2) - numpy.log(d0 / 2)) for z in logs]


def moderated():
    """moderated.rs: the fit, the shrunk variances (d0 s0^2 + d s^2) / (d0 + d), and one comparison of 3 with 3 restarts."""
    tasks = [numpy.array([0.02, 1.5, 0.3, 4.0, 0.6]), numpy.array([0.5, 9.5, 2.2, 30.0, 4.0])]
    d0, variances = prior(tasks)
    show("moderated d0, prior variances", d0, *variances)
    shrunk = [(d0 * s0 + 2 * s2) / (d0 + 2) for s0, s2 in zip(variances, tasks)]
    show("moderated shrunk", *shrunk)
    se, df = ((shrunk[0][2] + shrunk[0][0]) / 3) ** 0.5, d0 + 2
    half = stats.t.ppf(0.975, df) * se
    show("moderated se, t, p, lo, hi", se, 2 / se, 2 * stats.t.sf(2 / se, df), 2 - half, 2 + half)
    show("moderated even variances", *prior([numpy.array([0.5, 0.6, 0.55, 0.45]), numpy.array([4.0, 5.0, 4.4, 5.2])]))


def degenerate():
    """degenerate.rs, three_strata_by_statsmodels."""
    found = StratifiedTable([[[1, 2], [0, 3]], [[2, 1], [0, 3]], [[1, 2], [1, 2]]]).test_null_odds(correction=True)
    show("degenerate statistic, p", found.statistic, found.pvalue)


def reliability():
    """reliability.rs, four_intermediates_by_pingouin: ICC(1,1) and ICC(1,k); sem is the root of the mean square within."""
    groups = [[70.1, 71.0, 69.5], [72.2, 73.1, 72.0], [68.0, 69.9, 68.4], [74.1, 73.0, 75.2]]
    data = pandas.DataFrame([(i, j, s) for i, g in enumerate(groups) for j, s in enumerate(g)], columns=["i", "seed", "score"])
    icc = pingouin.intraclass_corr(data, targets="i", raters="seed", ratings="score")
    for name in icc.loc[[0, 3], "Type"]:
        row = icc.set_index("Type").loc[name]
        show(f"reliability {name} value, F, p", row["ICC"], row["F"], row[[c for c in icc.columns if c.startswith("p")][0]])
    show("reliability sem", numpy.mean([numpy.var(g, ddof=1) for g in groups]) ** 0.5)


def power():
    """power.rs: the smallest n by the two-quantile formula, and solve_power rounded up."""
    effects = [0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0]
    for alpha in (0.05, 0.05 / 11, 0.05 / 110):
        enough = lambda n, e: n >= 2 / e**2 * (stats.t.ppf(1 - alpha / 2, 2 * n - 2) + stats.t.ppf(0.8, 2 * n - 2)) ** 2
        show(f"power by formula, alpha {alpha:.5f}", [next(n for n in itertools.count(2) if enough(n, e)) for e in effects])
        solved = [TTestIndPower().solve_power(effect_size=e, alpha=alpha, power=0.8) for e in effects]
        show(f"power by solve_power, alpha {alpha:.5f}", numpy.ceil(numpy.ravel(solved)))


def special_functions():
    """special/tests.rs, inverse_trigamma_by_scipy: the root of polygamma(1, y) = x."""
    for x in (0.1, 0.5, 1.0, 2.0, 10.0):
        show(f"inverse trigamma {x}", optimize.brentq(lambda y: special.polygamma(1, y) - x, 1e-3, 1e3, xtol=1e-15, rtol=8.9e-16))


def expected_best():
    """expected_best.rs, five_scores_by_listing_every_draw: the mean over all draws of n of 5 scores of the best of the draw."""
    scores = [60, 62, 61, 66, 50]
    show("expected best", [numpy.mean([max(draw) for draw in itertools.combinations(scores, n)]) for n in range(1, 6)])


class SplitMix64:
    """Steele, Lea and Flood 2014, as in the C code that Vigna put into the public domain."""

    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.MASK
        return z ^ (z >> 31)

    def permutation(self, k):
        order = list(range(k))
        for i in range(k - 1, 0, -1):
            j = (self.next() * (i + 1)) >> 64
            order[i], order[j] = order[j], order[i]
        return order


def rng():
    """rng.rs, streams_equal_those_of_a_second_implementation."""
    zero, default, orders = SplitMix64(0), SplitMix64(20_200_705), SplitMix64(20_200_705)
    print("rng seed 0:", [hex(zero.next()) for _ in range(2)])
    print("rng seed 20200705:", [hex(default.next()) for _ in range(3)])
    print("rng permutations of 11:", [orders.permutation(11) for _ in range(2)])


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # pingouin warns about intervals that are not used here
    modules = [numpy, pandas, scipy, statsmodels, pingouin]
    print(f"python {platform.python_version()}", *(f"{module.__name__} {module.__version__}" for module in modules))
    for part in (
        additivity, agreement, best, shrinkage, multiple, coefficient, partial, comparison, moderated, degenerate,
        reliability, power, special_functions, expected_best, rng,
    ):
        part()
