//! Special functions: gamma and beta families, and the tails and quantiles of the normal, t, F and chi-square
//! distributions.
//!
//! All take real arguments: degrees of freedom need not be whole, and may be infinite where that is a limit. The relative
//! error on the grids of `special/tests.rs`, which cover what studies ask for, is bounded there: 1e-12 for tails, 1e-11
//! for quantiles. Callers check that arguments lie in the domain, and report "undefined" where they do not.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Beyond this many degrees of freedom (more than any study has runs) t is treated as normal.
const NORMAL_DF: f64 = 1e10;

/// Relative size at which a series or continued fraction counts as converged.
// Just above the rounding of f64 (2.2e-16): a smaller bound might never be met.
const EPSILON: f64 = 3e-16;

/// Limit on the terms of a series or continued fraction: arguments of 1e10 need about 1e5, ordinary ones fewer than 100.
const MAX_TERMS: u32 = 1_000_000;

/// Upper tail of Student's t: P(T > t) with `df` > 0 degrees of freedom, possibly infinite.
pub(crate) fn t_sf(t: f64, df: f64) -> f64 {
    // The lower half by symmetry, so that the upper tail keeps its relative error.
    if t < 0.0 { 1.0 - t_upper(-t, df) } else { t_upper(t, df) }
}

/// Two-sided tail of Student's t: 2 P(T > |t|) with `df` > 0 degrees of freedom, possibly infinite.
pub(crate) fn t_two_sided(t: f64, df: f64) -> f64 {
    2.0 * t_upper(t.abs(), df)
}

/// The t with P(T <= t) = `p`, for `p` in [0, 1] and `df` > 0 degrees of freedom, possibly infinite.
pub(crate) fn t_quantile(p: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if df > NORMAL_DF {
        return normal_quantile(p);
    }
    let ln_scale = -ln_beta(0.5 * df, 0.5) - 0.5 * df.ln();
    let density = |t: f64| (ln_scale - 0.5 * (df + 1.0) * ln_1p_square_over(t, df)).exp();
    symmetric_quantile(p, |t| t_upper(t, df), density)
}

/// The standard normal distribution function, P(Z <= z).
pub(crate) fn normal_cdf(z: f64) -> f64 {
    if z < 0.0 { normal_upper(-z) } else { 1.0 - normal_upper(z) }
}

/// The z with P(Z <= z) = `p`, for `p` in [0, 1].
pub(crate) fn normal_quantile(p: f64) -> f64 {
    symmetric_quantile(p, normal_upper, |z| (-0.5 * z * z).exp() / (2.0 * PI).sqrt())
}

/// Upper tail of F: P(F > x) with `d1` and `d2` > 0 degrees of freedom; `d2` may be infinite.
pub(crate) fn f_sf(x: f64, d1: f64, d2: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    // F with infinitely many denominator degrees of freedom is chi-square over d1.
    if d2.is_infinite() {
        return chi2_sf(x * d1, d1);
    }
    let total = d2 + d1 * x;
    if total.is_infinite() {
        return 0.0;
    }
    beta_with_complement(0.5 * d2, 0.5 * d1, d2 / total, d1 * x / total)
}

/// Upper tail of chi-square: P(X > x) with `k` > 0 degrees of freedom.
pub(crate) fn chi2_sf(x: f64, k: f64) -> f64 {
    gamma_upper(0.5 * k, 0.5 * x)
}

/// ln of the gamma function, for x > 0.
pub(crate) fn ln_gamma(x: f64) -> f64 {
    if x > 0.0 { libm::lgamma(x) } else { f64::NAN }
}

/// The digamma function, the derivative of ln gamma, for x > 0.
pub(crate) fn digamma(x: f64) -> f64 {
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32_760.0, 1.0 / 12.0];
    let (x, shift) = raise_to_ten(x, |x| -1.0 / x);
    let inverse_square = 1.0 / (x * x);
    shift + x.ln() - 0.5 / x - inverse_square * horner(&SERIES, inverse_square)
}

/// The trigamma function, the second derivative of ln gamma, for x > 0.
pub(crate) fn trigamma(x: f64) -> f64 {
    const SERIES: [f64; 7] = [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0];
    let (x, shift) = raise_to_ten(x, |x| 1.0 / (x * x));
    let inverse_square = 1.0 / (x * x);
    shift + (1.0 + 0.5 / x + inverse_square * horner(&SERIES, inverse_square)) / x
}

/// The tetragamma function, the third derivative of ln gamma, for x > 0. It is negative.
pub(crate) fn tetragamma(x: f64) -> f64 {
    const SERIES: [f64; 7] = [0.5, -1.0 / 6.0, 1.0 / 6.0, -0.3, 5.0 / 6.0, -691.0 / 210.0, 17.5];
    let (x, shift) = raise_to_ten(x, |x| -2.0 / (x * x * x));
    let inverse_square = 1.0 / (x * x);
    shift - inverse_square * (1.0 + 1.0 / x + inverse_square * horner(&SERIES, inverse_square))
}

/// The y > 0 with trigamma(y) = `x`, for x > 0.
///
/// Source: Smyth 2004, appendix: Newton's method on 1/trigamma, which is nearly linear and convex.
pub(crate) fn inverse_trigamma(x: f64) -> f64 {
    // As in limma: beyond these bounds the first term of the expansion is used, with a relative error below 1e-6.
    if x > 1e7 {
        return 1.0 / x.sqrt();
    }
    if x < 1e-6 {
        return 1.0 / x;
    }
    // Smyth's starting point lies above the root, and from there the steps go down without overshooting.
    let mut y = 0.5 + 1.0 / x;
    for _ in 0..100 {
        let value = trigamma(y);
        let step = value * (1.0 - value / x) / tetragamma(y);
        y += step;
        // Newton converges quadratically: a relative step of 1e-12 leaves an error far below one unit in the last place.
        if -step / y < 1e-12 {
            break;
        }
    }
    y
}

/// P(T > t) for t >= 0.
fn t_upper(t: f64, df: f64) -> f64 {
    if df.is_nan() || df <= 0.0 || t.is_nan() {
        return f64::NAN;
    }
    if df > NORMAL_DF {
        return normal_upper(t);
    }
    // Both x and 1 - x are computed directly: for large t the tail is x^(df/2), and 1 - (1 - x) would lose it.
    let (near, far) = if t * t < f64::MAX { (df / (df + t * t), t * t / (df + t * t)) } else { (0.0, 1.0) };
    0.5 * beta_with_complement(0.5 * df, 0.5, near, far)
}

/// ln(1 + t^2/df) without overflow.
fn ln_1p_square_over(t: f64, df: f64) -> f64 {
    if t.abs() > 1e100 { 2.0 * t.abs().ln() - df.ln() } else { (t * t / df).ln_1p() }
}

/// P(Z > z) for z >= 0.
fn normal_upper(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// Quantile of a distribution that is symmetric about 0, from its upper tail and its density on t >= 0.
fn symmetric_quantile(p: f64, upper: impl Fn(f64) -> f64, density: impl Fn(f64) -> f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p < 0.5 { -upper_quantile(p, upper, density) } else { upper_quantile(1.0 - p, upper, density) }
}

/// The t >= 0 with upper(t) = `tail`, `tail` in [0, 0.5]: Newton on ln upper against ln t, inside a bracket.
///
/// In these coordinates a power-law tail is a straight line and a normal one a gentle curve.
fn upper_quantile(tail: f64, upper: impl Fn(f64) -> f64, density: impl Fn(f64) -> f64) -> f64 {
    if tail == 0.0 {
        return f64::INFINITY;
    }
    if tail == 0.5 {
        return 0.0;
    }
    // Hastings' formula for the normal quantile (Abramowitz and Stegun 26.2.22), good to 0.003: a start, no more.
    let w = (-2.0 * tail.ln()).sqrt();
    let mut t = (w - (2.30753 + 0.27061 * w) / (1.0 + w * (0.99229 + 0.04481 * w))).max(1e-8);
    let (mut low, mut high) = (0.0_f64, f64::INFINITY);
    for _ in 0..200 {
        let found = upper(t);
        if found > tail {
            low = t;
        } else {
            high = t;
        }
        let step = (found / tail).ln() * found / (t * density(t));
        // Far in a heavy tail the start may be off by many orders; the clamp keeps the factor finite.
        let mut next = t * step.clamp(-40.0, 40.0).exp();
        // A step that leaves the bracket, or is NaN, is replaced by doubling or halving.
        if !(next > low && next < high) {
            next = if high.is_infinite() { 2.0 * t } else { 0.5 * (low + high) };
        }
        let moved = (next - t).abs();
        t = next;
        if moved <= 4.0 * f64::EPSILON * t {
            break;
        }
    }
    t
}

/// I_x(a, b) where the caller passes `y` = 1 - x, so that neither end loses digits.
fn beta_with_complement(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() || x < 0.0 || y < 0.0 || a.is_nan() || b.is_nan() || a <= 0.0 || b <= 0.0 {
        return f64::NAN;
    }
    if x == 0.0 {
        return 0.0;
    }
    if y == 0.0 {
        return 1.0;
    }
    let ln_x = if x > 0.5 { (-y).ln_1p() } else { x.ln() };
    let ln_y = if y > 0.5 { (-x).ln_1p() } else { y.ln() };
    let front = (a * ln_x + b * ln_y - ln_beta(a, b)).exp();
    // Beyond the mean, x > a/(a + b), the fraction of the other tail converges faster.
    if a * y > b * x { front / beta_fraction(a, b, x, y) } else { 1.0 - front / beta_fraction(b, a, y, x) }
}

/// x^a y^b / (B(a, b) I_x(a, b)) as a continued fraction, by Lentz's method. It takes `y` = 1 - x as an argument
/// because every 1 - x in it would cancel near x = 1, the range that t with many degrees of freedom uses.
/// Source: Didonato and Morris 1992 (TOMS 18, algorithm 708), equation 9; it converges fast for x < a/(a + b).
fn beta_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let partial_denominator = |m: f64| {
        let centre = a * y - b * x + 1.0 + m * (1.0 + y);
        m + m * (b - m) * x / (a + 2.0 * m - 1.0) + (a + m) / (a + 2.0 * m + 1.0) * centre
    };
    let mut value = away_from_zero(a / (a + 1.0) * (a * y - b * x + 1.0));
    let (mut numerator, mut denominator) = (value, 0.0);
    for term in 1..MAX_TERMS {
        let m = f64::from(term);
        let scale = x / (a + 2.0 * m - 1.0);
        let coefficient = (a + m - 1.0) * scale * (a + b + m - 1.0) * scale * m * (b - m);
        let next = partial_denominator(m);
        denominator = 1.0 / away_from_zero(next + coefficient * denominator);
        numerator = away_from_zero(next + coefficient / numerator);
        let factor = denominator * numerator;
        value *= factor;
        if (factor - 1.0).abs() <= EPSILON {
            break;
        }
    }
    value
}

/// ln B(a, b), without the cancellation of three large ln gammas when an argument is large.
fn ln_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if large < 10.0 {
        return ln_gamma(small) + ln_gamma(large) - ln_gamma(small + large);
    }
    let share = small / (small + large);
    let rest = stirling_rest(large) - stirling_rest(small + large);
    if small < 10.0 {
        return ln_gamma(small) + rest + small - small * (small + large).ln() + (large - 0.5) * (-share).ln_1p();
    }
    let constant = 0.5 * (2.0 * PI).ln() - 0.5 * large.ln();
    constant + stirling_rest(small) + rest + (small - 0.5) * share.ln() + large * (-share).ln_1p()
}

/// The regularised upper incomplete gamma function Q(a, x), for a > 0.
fn gamma_upper(a: f64, x: f64) -> f64 {
    if a.is_nan() || x.is_nan() || a <= 0.0 {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    // In logarithms, since x^a and gamma(a) overflow long before their ratio does. The difference cancels for large a:
    // about 1e-11 of the result is lost at a = 5,000.
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    // The series converges fast below the mean a of the distribution, the continued fraction above it.
    if x < a + 1.0 { 1.0 - front * gamma_series(a, x) } else { front * gamma_fraction(a, x) }
}

/// The series of the lower incomplete gamma function. Source: DLMF 8.7.1.
fn gamma_series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    for step in 1..MAX_TERMS {
        term *= x / (a + f64::from(step));
        sum += term;
        if term <= EPSILON * sum {
            break;
        }
    }
    sum
}

/// The continued fraction of the upper incomplete gamma function by Lentz's method. Source: DLMF 8.9.2, contracted.
fn gamma_fraction(a: f64, x: f64) -> f64 {
    let mut b = x + 1.0 - a;
    // Lentz starts from "infinity": a number so large that dividing by it gives 0.
    let mut numerator = 1.0 / f64::MIN_POSITIVE;
    let mut denominator = 1.0 / away_from_zero(b);
    let mut value = denominator;
    for step in 1..MAX_TERMS {
        let m = f64::from(step);
        let coefficient = -m * (m - a);
        b += 2.0;
        denominator = 1.0 / away_from_zero(coefficient * denominator + b);
        numerator = away_from_zero(b + coefficient / numerator);
        let factor = denominator * numerator;
        value *= factor;
        if (factor - 1.0).abs() <= EPSILON {
            break;
        }
    }
    value
}

/// ln gamma(x) minus Stirling's formula, for x >= 10. Source: DLMF 5.11.1.
fn stirling_rest(x: f64) -> f64 {
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    horner(&SERIES, 1.0 / (x * x)) / x
}

/// Raises `x` by whole steps to at least 10, adding `term(x)` for each, so that the asymptotic series holds.
fn raise_to_ten(x: f64, term: impl Fn(f64) -> f64) -> (f64, f64) {
    if x.is_nan() || x <= 0.0 {
        return (f64::NAN, f64::NAN);
    }
    let (mut x, mut sum) = (x, 0.0);
    // From 10 on seven terms of each asymptotic series err by about 1e-16.
    while x < 10.0 {
        sum += term(x);
        x += 1.0;
    }
    (x, sum)
}

/// The polynomial with these coefficients, constant term first.
fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Keeps Lentz's method from dividing by zero.
fn away_from_zero(x: f64) -> f64 {
    if x.abs() < 1e-300 { 1e-300 } else { x }
}

#[cfg(test)]
mod tests;
