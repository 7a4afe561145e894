//! Relations of gains to training sizes and of probes to targets, and score curves. The numbers
//! come from the averages and arms; the statistics from [`crate::relation`] and [`crate::expected_best`].

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::averages::{Averages, Deltas};
use crate::expected_best::expected_best;
use crate::grid::Grid;
use crate::map::Map;
use crate::moments::mean;
use crate::options::{Mode, Options};
use crate::relation::{Relation, relation};

/// Name of the relation of training-set size to gain.
pub(crate) const SIZE_OF_INTERMEDIATE: &str = "log n_intermediate vs average target delta";
/// Name of the relation of target size to gain.
pub(crate) const SIZE_OF_TARGET: &str = "log n_train vs mean target delta";
/// Name of the relation of forgetting to transfer.
pub(crate) const FORGETTING: &str = "average probe delta vs average target delta";

/// The expected best score of the first 1, 2, ... restarts of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The start point; may be the baseline.
    pub intermediate: String,
    /// The target.
    pub task: String,
    /// In points; at place n - 1 the expected best of n restarts.
    pub expected_best: Vec<f64>,
}

/// The relations of a mode: size of the intermediate, size of the target, forgetting.
pub(crate) fn relations(
    grid: &Grid<'_>,
    averages: &Averages,
    targets: (&Map, &Deltas),
    probes: (&Map, &Deltas),
    options: &Options,
) -> Vec<Relation> {
    let alpha = options.alpha.value();
    let names: Vec<String> = grid.intermediates.iter().map(|&i| grid.name(i).to_owned()).collect();
    // Ranks need no logarithm; it is there for the coordinates in the JSON, which readers plot.
    let sizes: Vec<_> = grid.intermediates.iter().map(|&i| ln(grid.study.sizes[i])).collect();
    let gains: Vec<_> = averages.rows.iter().map(|row| row.mean).collect();

    let (map, deltas) = targets;
    let tasks: Vec<String> = map.tasks.iter().map(|&task| grid.study.tasks[task].name.clone()).collect();
    let task_sizes: Vec<_> = map.tasks.iter().map(|&task| ln(grid.study.tasks[task].n_train)).collect();
    let column = |place: usize| deltas.deltas.iter().filter_map(|row| row[place]).collect::<Vec<f64>>();
    let task_gains: Vec<_> = (0..tasks.len()).map(|place| mean_of(&column(place))).collect();
    vec![
        relation(SIZE_OF_INTERMEDIATE, &names, &sizes, &gains, alpha),
        relation(SIZE_OF_TARGET, &tasks, &task_sizes, &task_gains, alpha),
        relation(FORGETTING, &names, &probe_gains(grid, probes), &gains, alpha),
    ]
}

/// Mean delta of each intermediate over the probes that all share. Measures that are not scores, such as a loss or a
/// distance (lower is better, scale 1), stay out: their units do not add to points.
fn probe_gains(grid: &Grid<'_>, (map, deltas): (&Map, &Deltas)) -> Vec<Option<f64>> {
    let in_points = |place: &usize| {
        let task = &grid.study.tasks[map.tasks[*place]];
        task.higher_is_better || task.scale != 1.0
    };
    // Probes that some intermediates lack would shift their averages against the others'.
    let shared: Vec<usize> = deltas.common().into_iter().filter(in_points).collect();
    let gain = |row: &Vec<Option<f64>>| mean_of(&shared.iter().filter_map(|&place| row[place]).collect::<Vec<_>>());
    deltas.deltas.iter().map(gain).collect()
}

fn mean_of(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| mean(values))
}

fn ln(size: Option<f64>) -> Option<f64> {
    size.filter(|size| *size > 0.0).map(f64::ln)
}

/// Curves of every start point, the baseline first, on every target that it has scores on.
pub(crate) fn curves(grid: &Grid<'_>, map: &Map, mode: Mode) -> Vec<Curve> {
    let starts: Vec<usize> = grid.baseline.into_iter().chain(grid.intermediates.iter().copied()).collect();
    let every: Vec<(usize, usize)> =
        starts.iter().flat_map(|&start| map.tasks.iter().map(move |&task| (start, task))).collect();
    let curve = |(start, task): (usize, usize)| {
        let scores = grid.arm(task, start).scores(mode);
        let about = &grid.study.tasks[task];
        (!scores.is_empty()).then(|| Curve {
            intermediate: grid.name(start).to_owned(),
            task: about.name.clone(),
            expected_best: expected_best(scores, about.higher_is_better),
        })
    };
    every.into_par_iter().filter_map(curve).collect()
}
