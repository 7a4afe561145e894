"""Writes the golden numbers of stepstone-analysis' special functions.

Usage: python make_analysis.py crates/stepstone-analysis/tests/golden
Each file begins with the script, the versions and the date that made it.
"""
import datetime
import json
import math
import platform
import sys
from pathlib import Path

import mpmath as mp
import numpy
import scipy
import statsmodels
from scipy import special, stats


def header():
    return {
        "made_by": "tools/golden/make_analysis.py",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "mpmath": mp.__version__,
        "scipy": scipy.__version__,
        "statsmodels": statsmodels.__version__,
    }


def clean(value):
    """Undefined (NaN) becomes null; NumPy numbers become plain ones."""
    if isinstance(value, numpy.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, numpy.ndarray)):
        return [clean(item) for item in value]
    if isinstance(value, (bool, numpy.bool_)):
        return bool(value)
    if isinstance(value, (int, numpy.integer)):
        return int(value)
    if isinstance(value, (float, numpy.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def exact(value, peer):
    """An mpmath value as the nearest double, after checking that SciPy agrees to ten digits."""
    nearest, peer = float(value), float(peer)
    assert abs(peer - nearest) <= 1e-10 * abs(nearest) or abs(nearest) < 1e-300, (nearest, peer)
    return nearest if abs(nearest) > 1e-300 else 0.0


def t_upper(t, df):
    """P(T > t), by the complement where that loses no digits."""
    t, df = mp.mpf(t), mp.mpf(df)
    tail = mp.betainc(df / 2, mp.mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2
    return tail if t >= 0 else 1 - tail


def t_quantile(p, df):
    """Newton from SciPy's answer, in fifty digits."""
    p, df = mp.mpf(p), mp.mpf(df)
    t = mp.mpf(float(stats.t.ppf(float(p), float(df))))
    scale = mp.sqrt(df) * mp.beta(df / 2, mp.mpf(1) / 2)
    for _ in range(6):
        t += (t_upper(t, df) - (1 - p)) * scale * (1 + t * t / df) ** ((df + 1) / 2)
    return t


def make_special():
    """Rows of [arguments..., value]; `t`: t, df, upper tail; `t_quantile`: p, df, t; and so on.

    The values are mpmath's with fifty digits: SciPy's own error on this grid reaches 3e-11 (t = 1e-6 on 1 df).
    """
    mp.mp.dps = 50
    degrees = [0.5, 1, 1.7, 2, 2.859, 4.0740985642, 5, 9, 10.5, 20, 31, 57.3, 100, 200, 1234.5, 1e6, 3e9]
    points = [0, 1e-6, 0.01, 0.3, 1, 1.5, 2, 2.7, 4, 7, 12, 25, 50]
    tails = [1e-12, 1e-6, 0.001, 0.025, 0.05, 0.2, 0.4, 0.499, 0.5, 0.75, 0.9, 0.975, 0.995, 0.99977272727]
    positive = [0.001, 0.05, 0.3, 0.5, 1, 1.5, 2, 2.5, 3.7, 7, 9.99, 10, 12.3, 55, 400, 1e6]
    shapes = [0.25, 0.5, 1, 1.3, 2, 5, 12.5, 60, 500]
    normals = [-30, -8, -3.1, -1.96, -1, -0.2, -1e-5, 0, 1e-5, 0.4, 1, 1.7, 2.5, 5, 8]
    f_points, f_above, f_below = [0, 0.1, 0.9, 1, 2.5, 21.4, 300], [1, 3, 7.5, 40], [1, 5, 8, 22, 900.5]
    chi2_points, chi2_df = [0, 1e-3, 0.952380952, 2, 3.84, 10, 60, 400], [1, 1.5, 2, 5, 30, 250]
    beta_points = [0, 1e-4, 0.03, 0.2, 0.5, 0.77, 0.99, 1]

    def f_upper(x, a, b):
        x, a, b = mp.mpf(x), mp.mpf(a), mp.mpf(b)
        return mp.betainc(b / 2, a / 2, 0, b / (b + a * x), regularized=True)

    def normal_quantile(p):
        return mp.findroot(lambda z: mp.ncdf(z) - mp.mpf(p), mp.mpf(float(stats.norm.ppf(p)))) if p != 0.5 else mp.mpf(0)

    def chi2_upper(x, k):
        return mp.gammainc(mp.mpf(k) / 2, mp.mpf(x) / 2, mp.inf, regularized=True)

    def lower_beta(a, b, x):
        return mp.betainc(mp.mpf(a), mp.mpf(b), 0, mp.mpf(x), regularized=True)

    # Only at (1e-6, 1 df) is SciPy's tail too inaccurate to serve as a check.
    scipy_t = lambda t, df: t_upper(t, df) if (t, df) == (1e-6, 1) else stats.t.sf(t, df)
    return {
        "t": [[t, df, exact(t_upper(t, df), scipy_t(t, df))] for df in degrees for t in points + [-1.5, -7]],
        "t_quantile": [[p, df, exact(t_quantile(p, df), stats.t.ppf(p, df))] for df in degrees for p in tails if p != 0.5],
        "normal": [[z, exact(mp.ncdf(z), stats.norm.cdf(z))] for z in normals],
        "normal_quantile": [[p, exact(normal_quantile(p), stats.norm.ppf(p))] for p in tails],
        "f": [[x, a, b, exact(f_upper(x, a, b), stats.f.sf(x, a, b))] for x in f_points for a in f_above for b in f_below],
        "chi2": [[x, k, exact(chi2_upper(x, k), stats.chi2.sf(x, k))] for x in chi2_points for k in chi2_df],
        "beta": [
            [a, b, x, exact(lower_beta(a, b, x), special.betainc(a, b, x))]
            for a in shapes for b in shapes for x in beta_points
        ],
        "ln_gamma": [[x, exact(mp.loggamma(x), special.gammaln(x))] for x in positive],
        "digamma": [[x, exact(mp.digamma(x), special.digamma(x))] for x in positive],
        "trigamma": [[x, exact(mp.polygamma(1, x), special.polygamma(1, x))] for x in positive],
        "tetragamma": [[x, exact(mp.polygamma(2, x), special.polygamma(2, x))] for x in positive],
    }


MAKERS = {"special": make_special}


def main():
    folder = Path(sys.argv[1])
    for name in sys.argv[2:] or MAKERS:
        text = json.dumps({"header": header(), **clean(MAKERS[name]())}, indent=None, allow_nan=False)
        text = text.replace("]], \"", "]],\n\"").replace("}, \"", "},\n\"")
        (folder / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
