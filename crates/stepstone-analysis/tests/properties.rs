//! What must hold for every study: no panic and no NaN on awkward ones, and numbers that do not depend on names, on the
//! direction of a metric, or on a shift of a task.

use proptest::prelude::*;
use stepstone_analysis::report::{self, Layout, csv};
use stepstone_analysis::{
    Analysis, Method, Mode, Observation, Options, Role, Status, analyze, parse, write_observations,
};

fn options() -> Options {
    // No property depends on how finely p-values are resolved.
    Options { permutations: 19, bootstraps: 5, ..Options::default() }
}

fn analysis(observations: &[Observation]) -> Option<Analysis> {
    let read = parse("o.csv", write_observations(observations).as_bytes()).ok()?;
    Some(analyze(&read.studies[0], &options()))
}

/// One run as drawn: which start point, task and restart, its score, and how it ended.
type Draw = (usize, usize, i64, u8, u8);

/// Small studies with ties, constant columns, gaps, failed and degenerate runs, and often without a baseline.
fn draws() -> impl Strategy<Value = Vec<Draw>> {
    prop::collection::vec((0..5usize, 0..6usize, 0..4i64, 0..6u8, 0..12u8), 1..120)
}

const STARTS: [&str; 5] = ["none", "ccg", "mnli", "qqp", "sst2"];
const TASKS: [(&str, Role); 6] = [
    ("boolq", Role::Target),
    ("cb", Role::Target),
    ("rte", Role::Target),
    ("wic", Role::Target),
    ("cola", Role::Probe),
    ("ner", Role::Probe),
];

/// Each (start point, task, restart) at most once: the first draw counts.
fn study(draws: &[Draw]) -> Vec<Observation> {
    let mut seen = std::collections::BTreeSet::new();
    let first = draws.iter().filter(|(start, task, seed, ..)| seen.insert((*start, *task, *seed)));
    first
        .map(|&(start, task, seed, level, end)| {
            let (name, role) = TASKS[task];
            // Task 0 is constant; levels give ties elsewhere.
            let score = if task == 0 { 0.5 } else { 0.5 + 0.07 * f64::from(level) };
            let mut run = Observation::new(STARTS[start], seed, name, role, score);
            run.scoring.scale = Some(100.0);
            (run.sizes.n_train, run.sizes.n_intermediate) = (Some(1000), Some(100 * start as u64));
            match end {
                0 => (run.status, run.score) = (Status::Failed, None),
                1 => run.training.degenerate = Some(true),
                _ => {}
            }
            run
        })
        .collect()
}

proptest! {
    // Few cases, because each one analyses whole studies and writes every form of the report.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn awkward_studies_neither_panic_nor_print_nan(draws in draws()) {
        let found = analysis(&study(&draws)).expect("a sound file");
        let mut text = report::report(&found) + &report::summary(&found, Layout::default());
        for mode in [Mode::Keep, Mode::Drop] {
            text += &report::svg(&found, mode);
        }
        text += &(csv::cells(&found) + &csv::averages(&found) + &csv::correlations(&found));
        prop_assert!(!text.contains("NaN"), "{text}");
        for cell in found.cells.iter().flat_map(|cell| [Some(&cell.keep), cell.drop.as_ref()]).flatten() {
            for (raw, adjusted) in [(cell.p, cell.p_holm), (cell.p, cell.p_bh)] {
                prop_assert_eq!(raw.is_some(), adjusted.is_some());
                prop_assert!(adjusted >= raw && adjusted.unwrap_or(0.0) <= 1.0);
            }
        }
    }

    #[test]
    fn without_degenerate_runs_the_two_modes_agree(draws in draws()) {
        let mut observations = study(&draws);
        observations.iter_mut().for_each(|run| run.training.degenerate = None);
        let found = analysis(&observations).expect("a sound file");
        for cell in &found.cells {
            prop_assert_eq!(Some(&cell.keep), cell.drop.as_ref());
        }
        prop_assert_eq!(&found.modes.keep.averages, &found.modes.drop.averages);
        prop_assert_eq!(&found.modes.keep.best, &found.modes.drop.best);
    }

    #[test]
    fn a_json_of_an_analysis_reads_back_to_the_same(draws in draws()) {
        let found = analysis(&study(&draws)).expect("a sound file");
        let json = serde_json::to_string(&found).expect("JSON");
        let again: Analysis = serde_json::from_str(&json).expect("reads back");
        prop_assert_eq!(again, found);
    }

    #[test]
    fn a_lower_is_better_task_turns_every_delta(draws in draws()) {
        let mut observations = study(&draws);
        let upright = analysis(&observations).expect("a sound file");
        observations.iter_mut().for_each(|run| run.scoring.higher_is_better = false);
        let turned = analysis(&observations).expect("a sound file");
        for (a, b) in upright.cells.iter().zip(&turned.cells) {
            prop_assert_eq!(a.keep.delta, b.keep.delta.map(|delta| -delta + 0.0));
            prop_assert_eq!((a.keep.p, a.keep.arms.mean), (b.keep.p, b.keep.arms.mean));
        }
        for (a, b) in upright.modes.keep.correlations.pairs.iter().zip(&turned.modes.keep.correlations.pairs) {
            prop_assert_eq!(a.rows.rho, b.rows.rho);
        }
    }

    #[test]
    fn a_shift_of_a_task_changes_no_delta(draws in draws(), shift in 1..40i32) {
        let mut observations = study(&draws);
        let before = analysis(&observations).expect("a sound file");
        observations.iter_mut().filter(|run| run.task == "rte").for_each(|run| {
            run.score = run.score.map(|score| score + 0.01 * f64::from(shift));
        });
        let after = analysis(&observations).expect("a sound file");
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * (1.0 + a.abs()),
            (a, b) => a.is_some() == b.is_some(),
        };
        for (a, b) in before.cells.iter().zip(&after.cells) {
            prop_assert!(near(a.keep.delta, b.keep.delta), "{a:?} {b:?}");
        }
        for (a, b) in before.modes.keep.correlations.pairs.iter().zip(&after.modes.keep.correlations.pairs) {
            prop_assert!(near(a.rows.rho, b.rows.rho), "{a:?} {b:?}");
        }
    }

    #[test]
    fn new_names_in_the_same_order_change_nothing_but_names(draws in draws()) {
        let mut observations = study(&draws);
        let before = analysis(&observations).expect("a sound file");
        observations.iter_mut().filter(|run| run.intermediate != "none").for_each(|run| {
            run.intermediate.push_str("-anew");
        });
        let after = analysis(&observations).expect("a sound file");
        let cells = |analysis: &Analysis| analysis.cells.iter().map(|cell| cell.keep.clone()).collect::<Vec<_>>();
        prop_assert_eq!(cells(&before), cells(&after));
        let means = |analysis: &Analysis| {
            analysis.modes.keep.averages.rows.iter().map(|row| (row.mean, row.interval.p, row.rank.expected)).collect::<Vec<_>>()
        };
        prop_assert_eq!(means(&before), means(&after));
    }
}

/// Under Welch's method, a baseline whose restarts all score the same has no spread: no start can be compared with it, and none is called best.
#[test]
fn no_best_start_is_named_against_a_baseline_of_equal_scores() {
    let run = |start: &str, seed: i64, score: f64| {
        let mut run = Observation::new(start, seed, "boolq", Role::Target, score);
        run.scoring.scale = Some(100.0);
        run
    };
    let mut runs: Vec<Observation> = (0..3).map(|seed| run("none", seed, 0.71)).collect();
    runs.extend((0..3).map(|seed| run("mnli", seed, 0.70 - 0.01 * seed as f64)));
    let read = parse("o.csv", write_observations(&runs).as_bytes()).expect("a study");
    let analysis = analyze(&read.studies[0], &Options { method: Method::Welch, ..options() });
    let best = &analysis.modes.of(Mode::Keep).best[0];
    assert_eq!((best.top.as_deref(), best.candidates.len()), (None, 0), "{best:?}");
}
