//! A map: the arms of one role in one mode, each with its mean and the precision of that mean.

use rayon::prelude::*;

use crate::comparison::Precision;
use crate::grid::{Arm, Grid};
use crate::moderated::{self, Prior, TaskArms};
use crate::moments::{mean, variance};
use crate::observation::Role;
use crate::options::{Method, Mode};

/// Mean and spread of the scores of one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// Number of scores, at least 1.
    pub n: usize,
    /// Mean in points, not signed by the direction of the metric.
    pub mean: f64,
    /// Sample variance of the scores; `None` for one score.
    pub variance: Option<f64>,
    /// Squared standard error of the mean by the method in force; `None` where nothing is known about the spread.
    pub precision: Option<Precision>,
}

impl Estimate {
    /// Sample standard deviation in points.
    pub(crate) fn sd(&self) -> Option<f64> {
        self.variance.map(f64::sqrt)
    }

    /// Squared standard error from the arm's own scores alone, as Welch's test takes it; `None` for one score.
    pub(crate) fn own_precision(&self) -> Option<Precision> {
        let n = self.n as f64;
        self.variance.map(|variance| Precision { variance: variance / n, df: n - 1.0 })
    }
}

/// One role in one mode.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    /// The mode.
    pub mode: Mode,
    /// Indices into the study's tasks, one per column; empty for columns that are not tasks.
    pub tasks: Vec<usize>,
    /// Prior of the variances; its tasks are in the order of `tasks`.
    pub prior: Prior,
    /// `[tasks][study.intermediates]`; `None` without a score.
    estimates: Vec<Vec<Option<Estimate>>>,
}

impl Map {
    /// Estimates every arm of a role.
    pub(crate) fn new(grid: &Grid<'_>, role: Role, mode: Mode, method: Method) -> Self {
        let tasks = grid.tasks(role);
        let arms: Vec<(f64, &[Arm])> =
            tasks.iter().map(|&task| (grid.study.tasks[task].step, grid.arms(task))).collect();
        Self { tasks, ..Self::of_arms(&arms, mode, method) }
    }

    /// Estimates the arms of columns that need not be tasks of the study: each column's smallest step of the score in
    /// points (0 if unknown) and its arms. The prior is learnt from clean scores in both modes: a
    /// degenerate run says nothing about how runs that learn spread.
    pub(crate) fn of_arms(columns: &[(f64, &[Arm])], mode: Mode, method: Method) -> Self {
        let clean = |&(step, arms): &(f64, &[Arm])| TaskArms::new(step, arms.iter().map(|arm| arm.clean.as_slice()));
        // One prior for the map: one task alone has too few arms to show how variances spread.
        let prior = moderated::fit(&columns.iter().map(clean).collect::<Vec<_>>());
        let estimates = columns
            .par_iter()
            .enumerate()
            .map(|(place, (_, arms))| arms.iter().map(|arm| estimate(arm, mode, method, &prior, place)).collect())
            .collect();
        Self { mode, tasks: Vec::new(), prior, estimates }
    }

    /// The arm of an intermediate, or of the baseline, on the task at `place` in [`Map::tasks`].
    pub(crate) fn estimate(&self, place: usize, intermediate: usize) -> Option<&Estimate> {
        self.estimates[place][intermediate].as_ref()
    }
}

fn estimate(arm: &Arm, mode: Mode, method: Method, prior: &Prior, place: usize) -> Option<Estimate> {
    let scores = arm.scores(mode);
    if scores.is_empty() {
        return None;
    }
    // In `drop` the degenerate runs are gone, and the rest is not a mixture.
    let mixture = mode == Mode::Keep && arm.degenerate() > 0;
    let n = scores.len();
    let precision = prior
        .spread(place, scores, mixture, method)
        .map(|spread| Precision { variance: spread.variance / n as f64, df: spread.df });
    Some(Estimate { n, mean: mean(scores), variance: variance(scores), precision })
}
