//! The whole analysis of one study: everything that the report, the exports and the JSON show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::averages::{Averages, Deltas, averages};
use crate::cells::{Cell, Difference, MapPair, cells};
use crate::degenerate::{Degenerate, degenerate};
use crate::grid::Grid;
use crate::input::{Outcome, Study};
use crate::map::{Estimate, Map};
use crate::observation::Role;
use crate::options::{Family, Method, Mode, Options};

/// Name and version of the output's form.
pub const SCHEMA: &str = "stepstone.analysis/1";

/// The analysis of one study with one encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the study; may be empty.
    pub study: String,
    /// Name of the pretrained encoder; may be empty.
    pub encoder: String,
    /// What was chosen.
    pub options: Choices,
    /// What was read.
    pub input: Input,
    /// Names of the intermediates, sorted.
    pub intermediates: Vec<String>,
    /// Names of the targets, sorted.
    pub targets: Vec<String>,
    /// Names of the probes, sorted.
    pub probes: Vec<String>,
    /// Targets, then probes: what is known about each, and the baseline's scores.
    pub tasks: Vec<TaskSummary>,
    /// Every (intermediate, task): targets first, then by intermediate and task.
    pub cells: Vec<Cell>,
    /// Degenerate runs.
    pub degenerate: Degenerate,
    /// Results that are computed once with degenerate runs and once without.
    pub modes: Modes,
}

/// The options that an analysis was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// Level of tests; intervals cover 1 - alpha.
    pub alpha: f64,
    /// Permutations of the cluster permutation test.
    pub permutations: u32,
    /// Resamples of the cluster bootstrap.
    pub bootstraps: u32,
    /// Start of the random numbers.
    pub rng_seed: u64,
    /// Interval and test of a difference.
    pub method: Method,
    /// Family of correlation tests that the text goes by.
    pub family: Family,
    /// The mode that the text and the figures show.
    pub mode: Mode,
    /// Name of the row that starts from the pretrained encoder.
    pub baseline: String,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Primary lines, repeated lines counted once.
    pub rows: usize,
    /// Runs with a score.
    pub used: usize,
    /// Primary lines without one.
    pub failed: usize,
    /// What was noticed about the file, in words.
    pub notes: Vec<String>,
}

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

/// Results with degenerate runs and without.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Modes {
    /// All scores: a start point that breaks runs is worse.
    pub keep: Results,
    /// Clean scores: what holds when training works.
    pub drop: Results,
}

impl Modes {
    /// The results of a mode.
    pub fn of(&self, mode: Mode) -> &Results {
        match mode {
            Mode::Keep => &self.keep,
            Mode::Drop => &self.drop,
        }
    }
}

/// Results of one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Priors of the variances.
    pub variance: Variances,
    /// Average gain of each intermediate.
    pub averages: Averages,
}

/// Priors of the variances of the two maps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variances {
    /// The map of the targets.
    pub target: Variance,
    /// The map of the probes.
    pub probe: Variance,
}

/// Prior of the variances of one map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variance {
    /// Prior degrees of freedom: 0 = no shrinkage, infinite = one variance per task.
    #[serde(with = "crate::json::df")]
    pub prior_df: Option<f64>,
    /// Prior standard deviation of each task, in points.
    pub prior_sd: BTreeMap<String, Option<f64>>,
    /// Arms that the prior was learnt from.
    pub cells_fitted: usize,
    /// Cells with a p-value: the size of the family that Holm and Benjamini-Hochberg correct over.
    pub family_size: usize,
}

/// Analyses one study. Every input gives an answer; what cannot be said is `None`.
pub fn analyze(study: &Study, options: &Options) -> Analysis {
    let grid = Grid::new(study, &options.baseline);
    let maps = Maps::new(&grid, options);
    let mut all = cells(&grid, &maps.pair(Role::Target), options);
    all.extend(cells(&grid, &maps.pair(Role::Probe), options));
    let names = |role| grid.tasks(role).into_iter().map(|task| study.tasks[task].name.clone()).collect();
    let modes = Modes {
        keep: results(&grid, &maps, &all, Mode::Keep, options),
        drop: results(&grid, &maps, &all, Mode::Drop, options),
    };
    Analysis {
        schema: SCHEMA.to_owned(),
        study: study.study.clone(),
        encoder: study.encoder.clone(),
        options: Choices::from(options),
        input: input(study),
        intermediates: grid.intermediates.iter().map(|&i| grid.name(i).to_owned()).collect(),
        targets: names(Role::Target),
        probes: names(Role::Probe),
        tasks: task_summaries(&grid, &maps),
        cells: all,
        degenerate: degenerate(&grid),
        modes,
    }
}

/// The maps of both roles in both modes.
struct Maps {
    target: [Map; 2],
    probe: [Map; 2],
}

impl Maps {
    fn new(grid: &Grid<'_>, options: &Options) -> Self {
        let both = |role| [Mode::Keep, Mode::Drop].map(|mode| Map::new(grid, role, mode, options.method));
        Maps { target: both(Role::Target), probe: both(Role::Probe) }
    }

    fn pair(&self, role: Role) -> MapPair<'_> {
        let [keep, drop] = if role == Role::Target { &self.target } else { &self.probe };
        MapPair { role, keep, drop }
    }

    fn of(&self, role: Role, mode: Mode) -> &Map {
        let MapPair { keep, drop, .. } = self.pair(role);
        if mode == Mode::Keep { keep } else { drop }
    }
}

fn results(grid: &Grid<'_>, maps: &Maps, cells: &[Cell], mode: Mode, options: &Options) -> Results {
    let variance = |role| variance(grid, maps.of(role, mode), cells, role);
    let deltas = deltas(grid, cells, Role::Target, mode);
    Results {
        variance: Variances { target: variance(Role::Target), probe: variance(Role::Probe) },
        averages: averages(grid, maps.of(Role::Target, mode), &deltas, options),
    }
}

fn variance(grid: &Grid<'_>, map: &Map, cells: &[Cell], role: Role) -> Variance {
    let sd = |(place, &task): (usize, &usize)| (grid.study.tasks[task].name.clone(), map.prior.sd(place));
    let tested = |cell: &&Cell| cell.difference(map.mode).is_some_and(|difference| difference.p.is_some());
    Variance {
        prior_df: (map.prior.fitted > 0).then_some(map.prior.df),
        prior_sd: map.tasks.iter().enumerate().map(sd).collect(),
        cells_fitted: map.prior.fitted,
        family_size: cells.iter().filter(|cell| cell.role == role).filter(tested).count(),
    }
}

/// The deltas of a role's cells, which are sorted by intermediate and task.
fn deltas(grid: &Grid<'_>, cells: &[Cell], role: Role, mode: Mode) -> Deltas {
    let own: Vec<&Cell> = cells.iter().filter(|cell| cell.role == role).collect();
    let tasks = grid.tasks(role).len();
    let of = |get: fn(&Difference) -> Option<f64>| {
        let value = |cell: &&Cell| cell.difference(mode).and_then(get);
        let row = |place: usize| own[place * tasks..(place + 1) * tasks].iter().map(value).collect();
        (0..grid.intermediates.len()).map(row).collect()
    };
    Deltas { deltas: of(|difference| difference.delta), errors: of(|difference| difference.se.map(|se| se * se)) }
}

fn input(study: &Study) -> Input {
    let used = study.runs.iter().filter(|run| run.outcome != Outcome::Unusable).count();
    Input { rows: study.lines, used, failed: study.lines - used, notes: study.notes.clone() }
}

fn task_summaries(grid: &Grid<'_>, maps: &Maps) -> Vec<TaskSummary> {
    let summary = |role: Role, place: usize, task: usize| {
        let about = &grid.study.tasks[task];
        let scores = |mode| {
            let estimate = grid.baseline.and_then(|baseline| maps.of(role, mode).estimate(place, baseline));
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
    let of = |role| grid.tasks(role).into_iter().enumerate().map(move |(place, task)| summary(role, place, task));
    of(Role::Target).chain(of(Role::Probe)).collect()
}

impl From<&Options> for Choices {
    fn from(options: &Options) -> Self {
        Choices {
            alpha: options.alpha.value(),
            permutations: options.permutations,
            bootstraps: options.bootstraps,
            rng_seed: options.rng_seed,
            method: options.method,
            family: options.family,
            mode: options.mode,
            baseline: options.baseline.clone(),
        }
    }
}
