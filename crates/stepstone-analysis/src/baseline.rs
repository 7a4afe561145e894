//! Facts about each target and probe, and the baseline's scores on it.

use serde::{Deserialize, Serialize};

use crate::grid::Grid;
use crate::map::{Estimate, Map};
use crate::observation::Role;
use crate::options::Mode;

/// A target or probe, and how the pretrained encoder does on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSummary {
    /// The task.
    pub task: String,
    /// Its role.
    pub role: Role,
    /// Its primary metric; may be empty.
    pub metric: String,
    /// True if more is better.
    pub higher_is_better: bool,
    /// Points = score x scale.
    pub scale: f64,
    /// Training examples.
    pub n_train: Option<f64>,
    /// Baseline runs without a score.
    pub n_failed_base: usize,
    /// The baseline's scores with degenerate runs.
    pub keep: Baseline,
    /// The baseline's scores without degenerate runs.
    pub drop: Baseline,
}

/// Scores of the pretrained encoder on a task, in points.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Scores.
    pub n: usize,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their sample standard deviation.
    pub sd: Option<f64>,
}

impl TaskSummary {
    /// The baseline's scores in a mode.
    pub fn baseline(&self, mode: Mode) -> &Baseline {
        match mode {
            Mode::Keep => &self.keep,
            Mode::Drop => &self.drop,
        }
    }
}

/// Summaries of the targets, then the probes; `map` gives the map of a role in a mode.
pub(crate) fn task_summaries<'m>(grid: &Grid<'_>, map: impl Fn(Role, Mode) -> &'m Map) -> Vec<TaskSummary> {
    let summary = |role: Role, place: usize, task: usize| {
        let about = &grid.study.tasks[task];
        let scores = |mode| {
            let estimate = grid.baseline.and_then(|baseline| map(role, mode).estimate(place, baseline));
            estimate.map_or_else(Baseline::default, |estimate: &Estimate| Baseline {
                n: estimate.n,
                mean: Some(estimate.mean),
                sd: estimate.sd(),
            })
        };
        TaskSummary {
            task: about.name.clone(),
            role,
            metric: about.metric.clone(),
            higher_is_better: about.higher_is_better,
            scale: about.scale,
            n_train: about.n_train,
            n_failed_base: grid.baseline.map_or(0, |baseline| grid.arm(task, baseline).failed),
            keep: scores(Mode::Keep),
            drop: scores(Mode::Drop),
        }
    };
    // Tasks come in the order of the grid, which is that of the map's columns.
    let of = |role| grid.tasks(role).into_iter().enumerate().map(move |(place, task)| summary(role, place, task));
    of(Role::Target).chain(of(Role::Probe)).collect()
}
