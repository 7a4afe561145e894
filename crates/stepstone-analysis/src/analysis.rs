//! The whole analysis of one study: everything that the report, the exports and the JSON show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::additivity::{Additivity, additivity};
use crate::averages::{Averages, Deltas, averages};
use crate::baseline::{TaskSummary, task_summaries};
use crate::best::{Best, best};
use crate::cells::{Cell, Difference, MapPair, cells};
use crate::correlations::{Correlations, correlate};
use crate::degenerate::{Degenerate, degenerate};
use crate::findings::{Finding, findings};
use crate::grid::Grid;
use crate::hints::{Hints, hints};
use crate::influence::{Influence, influence};
use crate::input::{Outcome, Study};
use crate::map::Map;
use crate::observation::Role;
use crate::options::{Family, Method, Mode, Options};
use crate::power::{Power, power};
use crate::relation::Relation;
use crate::reliability::{Reliability, reliability};
use crate::structure::{Curve, curves, relations};
use crate::table::ScoreTable;

/// Name and version of the output's form.
pub const SCHEMA: &str = "stepstone.analysis/1";

/// Level and power that restarts are planned for, whatever the level of the tests.
const PLANNING_ALPHA: f64 = 0.05;
const PLANNING_POWER: f64 = 0.8;

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
    /// Runs that may have failed without being flagged.
    pub hints: Hints,
    /// Results that are computed once with degenerate runs and once without.
    pub modes: Modes,
    /// What the numbers carry, in plain words.
    pub findings: Vec<Finding>,
}

/// The analyses of a file with several studies or encoders.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Analyses<'a> {
    schema: &'static str,
    analyses: &'a [Analysis],
}

impl<'a> Analyses<'a> {
    /// Lists analyses under the schema `stepstone.analyses/1`.
    pub fn new(analyses: &'a [Analysis]) -> Self {
        Analyses { schema: "stepstone.analyses/1", analyses }
    }
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
    /// Best start for each target.
    pub best: Vec<Best>,
    /// Correlations between targets, and of targets with probes.
    pub correlations: Correlations,
    /// Significant correlations with all intermediates, and without the most damaged ones.
    pub influence: Vec<Influence>,
    /// How far gains are the sum of a part of the intermediate and a part of the target.
    pub additivity: Option<Additivity>,
    /// How well restarts of one start point agree, for each target, then each probe.
    pub reliability: Vec<Reliability>,
    /// Sizes against gains, and forgetting against transfer.
    pub relations: Vec<Relation>,
    /// Restarts that a difference needs, for each target.
    pub power: Vec<Power>,
    /// Expected best score of n restarts, for each target and start point.
    pub curves: Vec<Curve>,
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
    let degenerate = degenerate(&grid);
    let keep = results(&grid, &maps, &all, Mode::Keep, options);
    let drop = if all.iter().all(|cell| cell.drop.as_ref() == Some(&cell.keep)) {
        unchanged(&keep)
    } else {
        results(&grid, &maps, &all, Mode::Drop, options)
    };
    let modes = Modes { keep, drop };
    let mut analysis = Analysis {
        schema: SCHEMA.to_owned(),
        study: study.study.clone(),
        encoder: study.encoder.clone(),
        options: Choices::from(options),
        input: input(study),
        intermediates: grid.intermediates.iter().map(|&i| grid.name(i).to_owned()).collect(),
        targets: names(Role::Target),
        probes: names(Role::Probe),
        tasks: task_summaries(&grid, |role, mode| maps.of(role, mode)),
        cells: all,
        degenerate,
        hints: hints(study),
        modes,
        findings: Vec::new(),
    };
    analysis.findings = findings(&analysis);
    analysis
}

/// The maps of both roles in both modes.
struct Maps {
    target: [Map; 2],
    probe: [Map; 2],
}

impl Maps {
    fn new(grid: &Grid<'_>, options: &Options) -> Self {
        let both = |role| [Mode::Keep, Mode::Drop].map(|mode| Map::new(grid, role, mode, options.method));
        Self { target: both(Role::Target), probe: both(Role::Probe) }
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
    let map = maps.of(Role::Target, mode);
    let probe_map = maps.of(Role::Probe, mode);
    let deltas = |role| deltas(grid, cells, role, mode);
    let (gains, probe_gains) = (deltas(Role::Target), deltas(Role::Probe));
    let table = ScoreTable::new(grid.study, &options.baseline, mode);
    let averages = averages(grid, map, &gains, options);
    let sd = |(place, &task): (usize, &usize)| {
        power(&grid.study.tasks[task].name, map.prior.sd(place), PLANNING_ALPHA, PLANNING_POWER)
    };
    Results {
        variance: Variances {
            target: variance(grid, map, cells, Role::Target),
            probe: variance(grid, probe_map, cells, Role::Probe),
        },
        best: best(grid, map, options),
        correlations: correlate(&table, mode, options),
        influence: influence(&table, &averages, options),
        additivity: additive(grid, map, &gains),
        reliability: reliability(&table),
        relations: relations(grid, &averages, (map, &gains), (probe_map, &probe_gains), options),
        power: map.tasks.iter().enumerate().map(sd).collect(),
        curves: curves(grid, map, mode),
        averages,
    }
}

/// What is computed for [`Mode::Keep`], as [`Mode::Drop`] has it where no run is degenerate.
fn unchanged(keep: &Results) -> Results {
    Results { correlations: keep.correlations.without_bootstrap(), ..keep.clone() }
}

fn additive(grid: &Grid<'_>, map: &Map, gains: &Deltas) -> Option<Additivity> {
    let names =
        |indices: &[usize], name: &dyn Fn(usize) -> String| indices.iter().map(|&i| name(i)).collect::<Vec<_>>();
    let noise = |intermediate: usize| {
        let cell = |place| map.estimate(place, intermediate)?.precision.map(|precision| precision.variance);
        (0..map.tasks.len()).map(cell).collect()
    };
    let noise: Vec<Vec<Option<f64>>> = grid.intermediates.iter().map(|&intermediate| noise(intermediate)).collect();
    let intermediates = names(&grid.intermediates, &|i| grid.name(i).to_owned());
    let targets = names(&map.tasks, &|task| grid.study.tasks[task].name.clone());
    additivity(&gains.deltas, &noise, &intermediates, &targets)
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

impl From<&Options> for Choices {
    fn from(options: &Options) -> Self {
        Self {
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
