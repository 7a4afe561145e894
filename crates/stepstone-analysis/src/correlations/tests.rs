//! Coefficients, correlations of a score table, reliability and additivity against SciPy, statsmodels and pingouin.
//!
//! The numbers in golden/{coefficients,correlations,additivity}.json are made by
//! tools/golden/make_analysis_correlations.py; their headers say with which versions and when.

use super::{Correlations, correlate};
use crate::additivity::additivity;
use crate::coefficient::{Coefficient, Undefined, kendall, pearson, spearman};
use crate::observation::Role;
use crate::options::{Mode, Options};
use crate::reliability::reliability;
use crate::table::{ScoreColumn, ScoreRow, ScoreTable};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Statistics hold to 1e-9, p-values to 1e-7; relative above 1.
#[track_caller]
fn same(found: &Value, want: &Value, name: &str, place: &str) {
    let is_p = name == "p" || ["p_", "holm_", "bh_", "tukey_p"].iter().any(|prefix| name.starts_with(prefix));
    let tolerance = if is_p { 1e-7 } else { 1e-9 };
    match (found.as_f64(), want.as_f64()) {
        (Some(found), Some(want)) => {
            let error = (found - want).abs() / want.abs().max(1.0);
            assert!(error <= tolerance, "{place}: {name} is {found}, want {want} (off by {error:e})");
        }
        _ => assert_eq!(found, want, "{place}: {name}"),
    }
}

/// Every field of `want` that is a plain value.
#[track_caller]
fn same_fields(found: &Value, want: &Map<String, Value>, place: &str) {
    for (name, want) in want.iter().filter(|(_, want)| !want.is_object() && !want.is_array()) {
        same(&found[name], want, name, place);
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn optional_numbers(value: &Value) -> Vec<Option<f64>> {
    value.as_array().unwrap().iter().map(Value::as_f64).collect()
}

fn table(study: &Value) -> ScoreTable {
    let rows: Vec<(&str, i64)> = study["rows"].as_array().unwrap().iter().map(row_key).collect();
    let mut intermediates: Vec<String> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
    intermediates.dedup();
    let number = |name: &str| intermediates.iter().position(|other| other == name).unwrap() as u32;
    let rows = rows.iter().map(|(name, seed)| ScoreRow { intermediate: number(name), seed: *seed }).collect();
    let role = |task: &str| if task.starts_with('t') { Role::Target } else { Role::Probe };
    let columns = study["scores"].as_object().unwrap().iter().map(|(task, scores)| ScoreColumn {
        task: task.clone(),
        role: role(task),
        scores: optional_numbers(scores),
    });
    ScoreTable { intermediates, rows, columns: columns.collect() }
}

fn row_key(row: &Value) -> (&str, i64) {
    (row[0].as_str().unwrap(), row[1].as_i64().unwrap())
}

type Test = fn(&[f64], &[f64]) -> Result<Coefficient, Undefined>;

#[test]
fn coefficients_equal_scipy() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/coefficients.json")).unwrap();
    let tests: [(&str, Test); 3] = [("spearman", spearman), ("pearson", pearson), ("kendall", kendall)];
    for (index, case) in golden["columns"].as_array().unwrap().iter().enumerate() {
        let (x, y) = (numbers(&case["x"]), numbers(&case["y"]));
        for (name, test) in tests {
            let found = test(&x, &y).ok();
            let place = format!("{name} of case {index} ({} rows)", x.len());
            same(&serde_json::json!(found.map(|found| found.r)), &case[name][0], "r", &place);
            same(&serde_json::json!(found.and_then(|found| found.p)), &case[name][1], "p", &place);
        }
    }
}

#[test]
fn tables_equal_scipy_statsmodels_and_pingouin() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/correlations.json")).unwrap();
    let count = |name: &str| golden[name].as_u64().unwrap() as u32;
    let options =
        Options { permutations: count("permutations"), bootstraps: count("bootstraps"), ..Options::default() };
    for (name, study) in golden["studies"].as_object().unwrap() {
        let table = table(study);
        let found = serde_json::to_value(correlate(&table, Mode::Keep, &options)).unwrap();
        assert_eq!(found["family_sizes"], study["family_sizes"], "{name}");
        let pairs = study["pairs"].as_array().unwrap();
        assert_eq!(found["pairs"].as_array().unwrap().len(), pairs.len(), "{name}");
        for (found, want) in found["pairs"].as_array().unwrap().iter().zip(pairs) {
            same_fields(found, want.as_object().unwrap(), &format!("{name}: {} x {}", want["x"], want["y"]));
        }
        for (found, want) in reliability(&table).iter().zip(study["reliability"].as_array().unwrap()) {
            let found = serde_json::to_value(found).unwrap();
            same_fields(&found, want.as_object().unwrap(), &format!("{name}: reliability of {}", want["task"]));
        }
    }
}

#[test]
fn additive_models_equal_statsmodels() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/additivity.json")).unwrap();
    for (index, map) in golden["maps"].as_array().unwrap().iter().enumerate() {
        let deltas: Vec<Vec<Option<f64>>> = map["deltas"].as_array().unwrap().iter().map(optional_numbers).collect();
        let names = |prefix: &str, count: usize| (0..count).map(|i| format!("{prefix}{i:02}")).collect::<Vec<_>>();
        let (rows, columns) = (names("i", deltas.len()), names("t", deltas[0].len()));
        let noise = vec![vec![None; columns.len()]; rows.len()];
        let found = additivity(&deltas, &noise, &rows, &columns).unwrap();
        for (effects, want) in [(&found.intermediate, &map["intermediate"]), (&found.task, &map["task"])] {
            for ((name, found), want) in effects.iter().zip(want.as_array().unwrap()) {
                same(&serde_json::json!(found), want, name, &format!("map {index}"));
            }
        }
        same_fields(&serde_json::to_value(&found).unwrap(), map.as_object().unwrap(), &format!("map {index}"));
    }
}

#[test]
fn no_bit_depends_on_the_number_of_threads() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/correlations.json")).unwrap();
    let options = Options { permutations: 200, bootstraps: 150, ..Options::default() };
    let run = |threads: usize, table: &ScoreTable| -> Correlations {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| correlate(table, Mode::Keep, &options))
    };
    for (name, study) in golden["studies"].as_object().unwrap() {
        let table = table(study);
        let text = |threads| serde_json::to_string(&run(threads, &table)).unwrap();
        assert_eq!(text(1), text(5), "{name}");
    }
}

/// Small tables with ties, missing cells and sometimes constant columns.
fn tables() -> impl Strategy<Value = ScoreTable> {
    let shape = (1u32..7, 1i64..4, 0usize..4, 0usize..4);
    shape.prop_flat_map(|(k, seeds, targets, probes)| {
        let rows = k as usize * seeds as usize;
        let score = prop_oneof![5 => (0i32..40).prop_map(|score| Some(f64::from(score))), 1 => Just(None)];
        prop::collection::vec(prop::collection::vec(score, rows), targets + probes).prop_map(move |columns| {
            let rows = (0..k).flat_map(|intermediate| (0..seeds).map(move |seed| ScoreRow { intermediate, seed }));
            let column = |(index, scores): (usize, Vec<Option<f64>>)| ScoreColumn {
                task: format!("{index:02}"),
                role: if index < targets { Role::Target } else { Role::Probe },
                scores,
            };
            ScoreTable {
                intermediates: (0..k).map(|i| format!("i{i}")).collect(),
                rows: rows.collect(),
                columns: columns.into_iter().enumerate().map(column).collect(),
            }
        })
    })
}

fn quick() -> Options {
    // An interval needs 100 resamples with a correlation, and some resamples are constant.
    Options { permutations: 99, bootstraps: 120, ..Options::default() }
}

fn mapped(table: &ScoreTable, map: impl Fn(f64) -> f64) -> ScoreTable {
    let mut table = table.clone();
    table
        .columns
        .iter_mut()
        .for_each(|column| column.scores.iter_mut().flatten().for_each(|score| *score = map(*score)));
    table
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn numbers_are_finite_and_in_range(table in tables()) {
        for pair in correlate(&table, Mode::Keep, &quick()).pairs {
            let bounded = [pair.rows.rho, pair.rows.pearson, pair.rows.tau_b, pair.means.rho, pair.means.lo, pair.means.hi, pair.within.r,
                pair.bootstrap.lo, pair.bootstrap.hi, pair.partial.rho, pair.left_out.min, pair.left_out.max];
            prop_assert!(bounded.iter().flatten().all(|r| (-1.0..=1.0).contains(r)), "{pair:?}");
            let p = [pair.rows.p, pair.rows.p_pearson, pair.rows.p_tau, pair.means.p, pair.within.p, pair.permutation.p, pair.permutation.p_maxt, pair.partial.p,
                pair.adjusted.holm_distinct, pair.adjusted.bh_distinct, pair.adjusted.holm_means, pair.adjusted.bh_means, pair.adjusted.holm_acl2020];
            prop_assert!(p.iter().flatten().all(|p| (0.0..=1.0).contains(p)), "{pair:?}");
            let adjusted = [(pair.rows.p, pair.adjusted.holm_distinct), (pair.rows.p, pair.adjusted.bh_distinct), (pair.rows.p, pair.adjusted.holm_acl2020),
                (pair.means.p, pair.adjusted.holm_means), (pair.means.p, pair.adjusted.bh_means)];
            // p m / m may round below p.
            let not_below = |(p, adjusted): &(Option<f64>, Option<f64>)| adjusted.unwrap_or(1.0) >= p.unwrap_or(0.0) * (1.0 - 1e-15);
            prop_assert!(adjusted.iter().all(not_below), "{pair:?}");
            prop_assert!(pair.permutation.p_maxt.is_none() || pair.permutation.p_maxt >= pair.permutation.p, "{pair:?}");
            prop_assert_eq!(pair.rows.rho.is_none(), pair.rows.reason.is_some());
        }
        for column in reliability(&table) {
            prop_assert!([column.icc1, column.icck, column.f, column.p, column.sem].iter().flatten().all(|x| x.is_finite()));
        }
    }

    #[test]
    fn ranks_see_no_monotone_transform(table in tables()) {
        let plain = correlate(&table, Mode::Keep, &quick());
        let bent = correlate(&mapped(&table, |score| (score / 10.0).exp() - 3.0), Mode::Keep, &quick());
        for (plain, bent) in plain.pairs.iter().zip(&bent.pairs) {
            prop_assert_eq!((plain.rows.rho, plain.rows.p, plain.rows.tau_b, plain.rows.p_tau), (bent.rows.rho, bent.rows.p, bent.rows.tau_b, bent.rows.p_tau));
            prop_assert_eq!((plain.bootstrap.lo, plain.bootstrap.hi), (bent.bootstrap.lo, bent.bootstrap.hi));
        }
    }

    /// Scores are whole numbers, so that the shift is exact.
    #[test]
    fn a_constant_added_changes_nothing(table in tables()) {
        let plain = serde_json::to_value(correlate(&table, Mode::Keep, &quick())).unwrap();
        let moved = serde_json::to_value(correlate(&mapped(&table, |score| score + 1024.0), Mode::Keep, &quick())).unwrap();
        for (moved, plain) in moved["pairs"].as_array().unwrap().iter().zip(plain["pairs"].as_array().unwrap()) {
            same_fields(moved, plain.as_object().unwrap(), "shifted");
        }
    }

    #[test]
    fn names_do_not_matter(table in tables()) {
        let mut renamed = table.clone();
        renamed.intermediates.iter_mut().for_each(|name| *name = format!("another {name}"));
        renamed.columns.iter_mut().for_each(|column| column.task = format!("another {}", column.task));
        let (plain, mut other) = (correlate(&table, Mode::Keep, &quick()), correlate(&renamed, Mode::Keep, &quick()));
        for pair in &mut other.pairs {
            let strip = |name: &str| name.strip_prefix("another ").unwrap().to_owned();
            (pair.x, pair.y) = (strip(&pair.x), strip(&pair.y));
            pair.left_out.name = pair.left_out.name.as_deref().map(strip);
        }
        prop_assert_eq!(plain, other);
    }
}
