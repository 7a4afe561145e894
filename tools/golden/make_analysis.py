"""Writes the golden numbers of stepstone-analysis from SciPy, statsmodels and pingouin-style formulas.

Usage: python make_analysis.py crates/stepstone-analysis/tests/golden [special|correlation|structure ...]
Each file begins with the script, the versions and the date that made it.
"""
import datetime
import json
import math
import platform
import sys
from pathlib import Path

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


def make_special():
    """Rows of [arguments..., value]; `t`: t, df, upper tail; `t_quantile`: p, df, t; and so on."""
    degrees = [0.5, 1, 1.7, 2, 2.859, 4.0740985642, 5, 9, 10.5, 20, 31, 57.3, 100, 200, 1234.5, 1e6]
    points = [0, 1e-6, 0.01, 0.3, 1, 1.5, 2, 2.7, 4, 7, 12, 25, 50]
    tails = [1e-12, 1e-6, 0.001, 0.025, 0.05, 0.2, 0.4, 0.499, 0.5, 0.75, 0.9, 0.975, 0.995, 0.99977272727]
    positive = [0.001, 0.05, 0.3, 0.5, 1, 1.5, 2, 2.5, 3.7, 7, 9.99, 10, 12.3, 55, 400, 1e6]
    shapes = [0.25, 0.5, 1, 1.3, 2, 5, 12.5, 60, 500]
    return {
        "t": [[t, df, stats.t.sf(t, df)] for df in degrees for t in points + [-1.5, -7]],
        "t_quantile": [[p, df, stats.t.ppf(p, df)] for df in degrees for p in tails],
        "normal": [[z, stats.norm.cdf(z)] for z in [-30, -8, -3.1, -1.96, -1, -0.2, -1e-5, 0, 1e-5, 0.4, 1, 1.7, 2.5, 5, 8]],
        "normal_quantile": [[p, stats.norm.ppf(p)] for p in tails],
        "f": [[x, a, b, stats.f.sf(x, a, b)] for x in [0, 0.1, 0.9, 1, 2.5, 21.4, 300] for a in [1, 3, 7.5, 40] for b in [1, 5, 8, 22, 900.5]],
        "chi2": [[x, k, stats.chi2.sf(x, k)] for x in [0, 1e-3, 0.952380952, 2, 3.84, 10, 60, 400] for k in [1, 1.5, 2, 5, 30, 250]],
        "beta": [[a, b, x, special.betainc(a, b, x)] for a in shapes for b in shapes for x in [0, 1e-4, 0.03, 0.2, 0.5, 0.77, 0.99, 1]],
        "ln_gamma": [[x, special.gammaln(x)] for x in positive],
        "digamma": [[x, special.digamma(x)] for x in positive],
        "trigamma": [[x, special.polygamma(1, x)] for x in positive],
        "tetragamma": [[x, special.polygamma(2, x)] for x in positive],
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
