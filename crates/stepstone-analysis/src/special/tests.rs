//! The special functions against mpmath's fifty digits, each value confirmed by SciPy to ten (golden/special.json, made by
//! tools/golden/make_analysis.py).

use serde_json::Value;

use super::{
    beta_with_complement, chi2_sf, digamma, f_sf, inverse_trigamma, ln_gamma, normal_cdf, normal_quantile, t_quantile,
    t_sf, t_two_sided, tetragamma, trigamma,
};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/special.json")).expect("the golden file is JSON")
}

/// Rows of one table: the arguments and the value.
fn rows(golden: &Value, name: &str) -> Vec<(Vec<f64>, f64)> {
    let table = golden[name].as_array().unwrap_or_else(|| panic!("no table {name}"));
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>();
    table.iter().map(numbers).map(|row| (row[..row.len() - 1].to_vec(), row[row.len() - 1])).collect()
}

#[track_caller]
fn close(found: f64, want: f64, relative: f64, what: &str) {
    let error = (found - want).abs();
    assert!(
        error <= relative * want.abs().max(1e-300),
        "{what}: {found} is not {want} (relative {:e})",
        error / want.abs()
    );
}

#[test]
fn tails_equal_mpmath_to_1e_12_relative() {
    let golden = golden();
    for (name, function) in [
        ("t", &(|a: &[f64]| t_sf(a[0], a[1])) as &dyn Fn(&[f64]) -> f64),
        ("normal", &|a: &[f64]| normal_cdf(a[0])),
        ("f", &|a: &[f64]| f_sf(a[0], a[1], a[2])),
        ("chi2", &|a: &[f64]| chi2_sf(a[0], a[1])),
        ("beta", &|a: &[f64]| beta_with_complement(a[0], a[1], a[2], 1.0 - a[2])),
    ] {
        for (arguments, want) in rows(&golden, name) {
            close(function(&arguments), want, 1e-12, &format!("{name}{arguments:?}"));
        }
    }
}

#[test]
fn quantiles_equal_mpmath_and_invert_their_tails() {
    let golden = golden();
    for (arguments, want) in rows(&golden, "t_quantile") {
        let (p, df) = (arguments[0], arguments[1]);
        let found = t_quantile(p, df);
        close(found, want, 1e-11, &format!("t_quantile{arguments:?}"));
        close(t_sf(-found, df), p, 1e-12, &format!("P(T <= {found}) on {df} df"));
    }
    for (arguments, want) in rows(&golden, "normal_quantile") {
        close(normal_quantile(arguments[0]), want, 1e-12, &format!("normal_quantile{arguments:?}"));
    }
}

#[test]
fn gamma_family_equals_mpmath() {
    let golden = golden();
    for (name, function) in [
        ("ln_gamma", ln_gamma as fn(f64) -> f64),
        ("digamma", digamma),
        ("trigamma", trigamma),
        ("tetragamma", tetragamma),
    ] {
        for (arguments, want) in rows(&golden, name) {
            let found = function(arguments[0]);
            // ln_gamma and digamma have zeros, next to which only the absolute error means something.
            let error = (found - want).abs() / want.abs().max(1.0);
            assert!(error <= 1e-13, "{name}({}): {found} is not {want}", arguments[0]);
        }
    }
}

/// Reference: the root of SciPy 1.17.1 `polygamma(1, y) = x` by `brentq`, printed by tools/golden/make_analysis_hand.py.
#[test]
fn inverse_trigamma_by_scipy() {
    for (x, want) in [
        (0.1, 10.491_681_821_078),
        (0.5, 2.459_952_948_352),
        (1.0, 1.426_255_120_215),
        (2.0, 0.876_664_077_464),
        (10.0, 0.335_081_044_378),
    ] {
        let found = inverse_trigamma(x);
        assert!((found - want).abs() < 1e-11, "{x}: {found}");
        close(trigamma(found), x, 1e-11, "trigamma of its inverse");
    }
    for x in [1e-7, 1e8] {
        close(trigamma(inverse_trigamma(x)), x, 1e-3, "the two ends are their leading terms");
    }
}

#[test]
fn infinite_degrees_of_freedom_are_normal() {
    assert_eq!(t_sf(1.96, f64::INFINITY), normal_cdf(-1.96));
    assert_eq!(t_quantile(0.975, f64::INFINITY), normal_quantile(0.975));
    close(t_two_sided(-1.959_963_984_540_054, f64::INFINITY), 0.05, 1e-12, "two-sided normal");
    close(f_sf(3.0, 2.0, f64::INFINITY), chi2_sf(6.0, 2.0), 1e-15, "F with infinite denominator");
}

#[test]
fn ends_and_outsides_are_definite() {
    assert_eq!(t_sf(f64::INFINITY, 3.0), 0.0);
    assert_eq!(t_two_sided(0.0, 3.0), 1.0);
    assert_eq!(t_quantile(0.5, 0.7), 0.0);
    assert_eq!(t_quantile(0.0, 3.0), f64::NEG_INFINITY);
    assert_eq!(t_quantile(1.0, 3.0), f64::INFINITY);
    assert_eq!(f_sf(f64::INFINITY, 2.0, 3.0), 0.0);
    assert_eq!(chi2_sf(f64::INFINITY, 2.0), 0.0);
    for undefined in [t_sf(1.0, 0.0), t_sf(f64::NAN, 2.0), t_quantile(1.5, 2.0), t_quantile(0.5, -1.0), ln_gamma(-1.0)]
    {
        assert!(undefined.is_nan());
    }
    assert!([digamma(0.0), trigamma(-2.0), tetragamma(f64::NAN)].iter().all(|x| x.is_nan()));
}
