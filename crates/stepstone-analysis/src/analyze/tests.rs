//! A grid of the ACL 2020 study's shape, 33 rows x 35 tasks and a baseline, against SciPy and statsmodels.
//!
//! golden/grid.csv and golden/grid.json are made by tools/golden/make_analysis_grid.py, which computes the cells,
//! averages, ranks and best starts of docs/statistics.md a second time over `scipy.stats`, `multipletests` and
//! `combine_effects`.

use serde_json::Value;

use super::analyze;
use crate::analysis::{Analysis, Results};
use crate::cells::{Cell, Difference};
use crate::input::parse;
use crate::observation::Role;
use crate::options::{Mode, Options};

const MODES: [(Mode, &str); 2] = [(Mode::Keep, "keep"), (Mode::Drop, "drop")];

fn analysis() -> Analysis {
    let read = parse("grid.csv", include_bytes!("../../tests/golden/grid.csv")).expect("the golden grid can be read");
    // The resampled numbers have their own tests; a few draws keep this one quick.
    analyze(&read.studies[0], &Options { permutations: 9, bootstraps: 0, ..Options::default() })
}

fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/grid.json")).expect("the golden file is JSON")
}

/// Undefined on both sides, infinite on both sides, or equal to 1e-7 relative (absolute below 1).
#[track_caller]
fn close(found: Option<f64>, want: &Value, tolerance: f64, what: &str) {
    let want = if want == "inf" { Some(f64::INFINITY) } else { want.as_f64() };
    match (found, want) {
        (None, None) => {}
        (Some(found), Some(want)) if found == want => {}
        (Some(found), Some(want)) => {
            let bound = tolerance * want.abs().max(1.0);
            assert!((found - want).abs() <= bound, "{what}: {found} is not {want}");
        }
        _ => panic!("{what}: {found:?} is not {want:?}"),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_cell_equals_scipy_in_both_modes() {
    let (analysis, golden) = (analysis(), golden());
    for (mode, name) in MODES {
        for (role, key) in [(Role::Target, "targets"), (Role::Probe, "probes")] {
            let cells: Vec<&Cell> = analysis.cells.iter().filter(|cell| cell.role == role).collect();
            let rows = list(&golden[name][key]);
            assert_eq!(cells.len(), rows.len());
            for (cell, row) in cells.iter().zip(rows) {
                let what = format!("{name} {} {}", cell.intermediate, cell.task);
                assert_eq!((cell.intermediate.as_str(), cell.task.as_str()), (text(&row[0]), text(&row[1])), "{what}");
                let undefined = Difference::default();
                check_cell(cell.difference(mode).unwrap_or(&undefined), row, &what);
            }
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn check_cell(cell: &Difference, row: &Value, what: &str) {
    close(cell.delta, &row[2], 1e-9, &format!("{what} delta"));
    let moderated = [cell.delta, cell.se, cell.df, cell.lo, cell.hi, cell.t, cell.p];
    for (place, found) in moderated.into_iter().enumerate().skip(1) {
        close(found, &row[3][place], 1e-9, &format!("{what} moderated {place}"));
    }
    close(cell.p_holm, &row[4], 1e-9, &format!("{what} Holm"));
    close(cell.p_bh, &row[5], 1e-9, &format!("{what} BH"));
    let welch = [cell.welch.se, cell.welch.df, cell.welch.lo, cell.welch.hi, cell.welch.p];
    for (place, found) in welch.into_iter().enumerate() {
        close(found, &row[6][place], 1e-9, &format!("{what} Welch {place}"));
    }
    close(cell.p_perm, &row[7], 1e-12, &format!("{what} permutation"));
}

#[test]
fn small_p_values_keep_their_relative_error() {
    let (analysis, golden) = (analysis(), golden());
    let mut smallest = 1.0f64;
    let cells = analysis.cells.iter().filter(|cell| cell.role == Role::Target);
    for (cell, row) in cells.zip(list(&golden["keep"]["targets"])) {
        let (Some(found), Some(want)) = (cell.keep.p, row[3][6].as_f64()) else { continue };
        assert!((found / want - 1.0).abs() < 1e-7, "{} {}: {found} is not {want}", cell.intermediate, cell.task);
        smallest = smallest.min(want);
    }
    assert!(smallest < 1e-6, "the grid has small p-values to be wrong about: {smallest}");
}

#[test]
fn averages_and_ranks_equal_scipy() {
    let (analysis, golden) = (analysis(), golden());
    for (mode, name) in MODES {
        let results = analysis.modes.of(mode);
        assert_eq!(serde_json::json!(results.averages.common_tasks), golden[name]["common"], "{name}");
        close(results.variance.target.prior_df, &golden[name]["prior_df"][0], 1e-9, "prior df of the targets");
        close(results.variance.probe.prior_df, &golden[name]["prior_df"][1], 1e-9, "prior df of the probes");
        let rows = list(&golden[name]["averages"]);
        assert_eq!(results.averages.rows.len(), rows.len());
        for (average, row) in results.averages.rows.iter().zip(rows) {
            assert_eq!(average.intermediate, text(&row[0]));
            let found = [
                average.mean,
                average.interval.se,
                average.interval.df,
                average.interval.lo,
                average.interval.hi,
                average.interval.p,
                average.p_holm,
                average.general.task_var,
                average.general.se,
                average.general.df,
                average.rank.expected,
                average.rank.lo.map(|rank| rank as f64),
                average.rank.hi.map(|rank| rank as f64),
            ];
            for (place, found) in found.into_iter().enumerate() {
                close(found, &row[place + 1], 1e-8, &format!("{name} {} {place}", average.intermediate));
            }
        }
    }
}

#[test]
fn best_starts_equal_scipy_and_statsmodels() {
    let (analysis, golden) = (analysis(), golden());
    for (mode, name) in MODES {
        let best = &analysis.modes.of(mode).best;
        let rows = list(&golden[name]["best"]);
        assert_eq!(best.len(), rows.len());
        for (best, row) in best.iter().zip(rows) {
            let what = format!("{name} {}", best.task);
            assert_eq!(best.task, text(&row[0]));
            close(best.tau2, &row[1], 1e-7, &format!("{what} tau2"));
            close(best.center, &row[2], 1e-8, &format!("{what} centre"));
            assert_eq!([best.top.as_deref(), best.top_shrunk.as_deref()], [row[3].as_str(), row[4].as_str()], "{what}");
            for (candidate, row) in best.candidates.iter().zip(list(&row[5])) {
                let what = format!("{what} {}", candidate.intermediate);
                assert_eq!(candidate.intermediate, text(&row[0]), "{what}");
                close(Some(candidate.delta), &row[1], 1e-9, &what);
                close(candidate.delta_shrunk, &row[2], 1e-7, &what);
                close(Some(candidate.p_best), &row[3], 1e-7, &what);
                close(candidate.p_best_shrunk, &row[4], 1e-7, &what);
                assert_eq!(Some(candidate.contender), row[5].as_bool(), "{what}");
            }
        }
    }
}

#[test]
fn families_of_correlations_have_the_sizes_and_counts_of_scipy() {
    let (analysis, golden) = (analysis(), golden());
    for (mode, name) in MODES {
        let Results { correlations, .. } = analysis.modes.of(mode);
        let below = |p: Option<f64>| p.is_some_and(|p| p < 0.05);
        let count = |get: &dyn Fn(&crate::correlations::Pair) -> bool| {
            correlations.pairs.iter().filter(|pair| get(pair)).count()
        };
        let target_pairs = correlations.pairs.iter().filter(|pair| analysis.names.targets.contains(&pair.y));
        // As in the study's own table: the ten self-correlations, target pairs twice.
        let twice = target_pairs.filter(|pair| below(pair.adjusted.holm_acl2020)).count();
        let sizes = correlations.family_sizes;
        let found = serde_json::json!({
            "acl2020": [sizes.acl2020, 10 + twice + count(&|pair| below(pair.adjusted.holm_acl2020))],
            "distinct": [sizes.distinct, count(&|pair| below(pair.adjusted.holm_distinct))],
            "means": [sizes.means, count(&|pair| below(pair.adjusted.holm_means))],
        });
        assert_eq!(found, golden[name]["families"], "{name}");
    }
}

#[test]
fn a_reader_sees_at_a_glance_what_the_grid_rests_on() {
    let analysis = analysis();
    let findings: Vec<&str> = analysis.findings.iter().map(|finding| finding.text.as_str()).collect();
    let says = |words: &str| findings.iter().any(|text| text.contains(words));
    for words in [
        "large deltas on aj-* rest on",
        "Leaving out the intermediates with the lowest average gain one after the other (",
        "Correlations: ",
        "The winner's curse",
    ] {
        assert!(says(words), "{words} is not in\n{}", findings.join("\n"));
    }
    let influence = &analysis.modes.keep.influence;
    let mut damaged = influence[3].left_out.clone();
    damaged.sort_unstable();
    assert_eq!(damaged, ["ccg", "qqp", "socialiqa"]);
    assert!(influence[3].distinct < influence[0].distinct, "{influence:?}");
}
