//! Cells: for every (intermediate, task) the difference from the baseline, with interval, test and status.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::comparison::{Test, compare};
use crate::grid::Grid;
use crate::map::{Estimate, Map};
use crate::multiple::{benjamini_hochberg, holm, over_defined};
use crate::observation::Role;
use crate::options::{Method, Mode, Options};
use crate::permutation::exact_p;

/// One (intermediate, task).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The intermediate task.
    pub intermediate: String,
    /// The task that was scored.
    pub task: String,
    /// Its role: target or probe.
    pub role: Role,
    /// Whether the cell can be compared.
    pub status: CellStatus,
    /// Runs without a score.
    pub n_failed: usize,
    /// Degenerate runs.
    pub n_degenerate: usize,
    /// Degenerate runs of the baseline on this task.
    pub n_degenerate_base: usize,
    /// All scores.
    pub keep: Difference,
    /// Scores of clean runs; `None` if one of the two arms has no clean run.
    pub drop: Option<Difference>,
    /// Part of the delta that degenerate runs explain, in points: delta with them minus delta without.
    pub degenerate_part: Option<f64>,
    /// This part as a share of the delta; only where the delta is significant by itself.
    pub degenerate_fraction: Option<f64>,
}

/// Whether a cell can be compared; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellStatus {
    /// No score.
    Missing,
    /// No score of the baseline on this task.
    NoBaseline,
    /// All runs of one of the two arms are degenerate.
    AllDegenerate,
    /// At least one degenerate run in one of the two arms.
    Degenerate,
    /// At least one planned run has no score.
    Incomplete,
    /// Both arms are complete and clean.
    Ok,
}

/// A cell in one mode. `delta` and what follows from it are signed so that positive is better. Undefined values are
/// `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The scores of both arms.
    #[serde(flatten)]
    pub arms: Arms,
    /// Difference of the means; positive = better than the baseline.
    pub delta: Option<f64>,
    /// Standard error of `delta` by the method in force.
    pub se: Option<f64>,
    /// Degrees of freedom of the interval; may be infinite.
    #[serde(with = "crate::json::df")]
    pub df: Option<f64>,
    /// Lower end of the 1 - alpha interval.
    pub lo: Option<f64>,
    /// Upper end of the 1 - alpha interval.
    pub hi: Option<f64>,
    /// `delta` over `se`.
    pub t: Option<f64>,
    /// Two-sided p-value.
    pub p: Option<f64>,
    /// Holm's adjusted p over the cells of the map.
    pub p_holm: Option<f64>,
    /// Benjamini and Hochberg's adjusted p over the cells of the map.
    pub p_bh: Option<f64>,
    /// Exact permutation p, where there are at most 5,000 splits.
    pub p_perm: Option<f64>,
    /// Welch's interval and test, beside the headline.
    pub welch: WelchTest,
}

/// The scores of a cell and of the baseline on its task, in points as scored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Arms {
    /// Scores of the cell.
    pub n: usize,
    /// Scores of the baseline.
    pub n_base: usize,
    /// Mean of the cell.
    pub mean: Option<f64>,
    /// Sample standard deviation of the cell.
    pub sd: Option<f64>,
    /// Mean of the baseline.
    pub base_mean: Option<f64>,
    /// Sample standard deviation of the baseline.
    pub base_sd: Option<f64>,
}

/// Welch's test of a difference. Source: Welch 1947. Reference: `scipy.stats.ttest_ind(equal_var=False)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WelchTest {
    /// Standard error.
    pub se: Option<f64>,
    /// Satterthwaite's degrees of freedom.
    #[serde(with = "crate::json::df")]
    pub df: Option<f64>,
    /// Lower end of the 1 - alpha interval.
    pub lo: Option<f64>,
    /// Upper end of the 1 - alpha interval.
    pub hi: Option<f64>,
    /// Two-sided p-value.
    pub p: Option<f64>,
}

impl Cell {
    /// The cell in a mode; `None` where dropping degenerate runs leaves an arm empty.
    pub fn difference(&self, mode: Mode) -> Option<&Difference> {
        match mode {
            Mode::Keep => Some(&self.keep),
            Mode::Drop => self.drop.as_ref(),
        }
    }
}

/// The two modes of one role's map.
pub(crate) struct MapPair<'a> {
    /// Role of the tasks.
    pub role: Role,
    /// All scores.
    pub keep: &'a Map,
    /// Clean scores.
    pub drop: &'a Map,
}

/// Every cell of one role, sorted by intermediate and task, with p-values adjusted over the map.
pub(crate) fn cells(grid: &Grid<'_>, maps: &MapPair<'_>, options: &Options) -> Vec<Cell> {
    let places = 0..maps.keep.tasks.len();
    let every: Vec<(usize, usize)> =
        grid.intermediates.iter().flat_map(|&i| places.clone().map(move |place| (i, place))).collect();
    let mut cells: Vec<Cell> =
        every.into_par_iter().map(|(intermediate, place)| cell(grid, maps, intermediate, place, options)).collect();
    // The two modes are two families: a reader looks at one of them.
    adjust(cells.iter_mut().map(|cell| Some(&mut cell.keep)).collect());
    adjust(cells.iter_mut().map(|cell| cell.drop.as_mut()).collect());
    for cell in &mut cells {
        explain(cell, options.alpha.value());
    }
    cells
}

fn cell(grid: &Grid<'_>, maps: &MapPair<'_>, intermediate: usize, place: usize, options: &Options) -> Cell {
    let task = maps.keep.tasks[place];
    let arm = grid.arm(task, intermediate);
    let base = grid.baseline.map(|baseline| grid.arm(task, baseline));
    let pair = ArmPair { grid, task, intermediate, place };
    // The order matters: a cell without scores is missing whatever its baseline lacks.
    let status = match base {
        _ if arm.all.is_empty() => CellStatus::Missing,
        None => CellStatus::NoBaseline,
        Some(base) if base.all.is_empty() => CellStatus::NoBaseline,
        Some(base) if arm.clean.is_empty() || base.clean.is_empty() => CellStatus::AllDegenerate,
        Some(base) if arm.degenerate() + base.degenerate() > 0 => CellStatus::Degenerate,
        Some(base) if arm.failed + base.failed > 0 => CellStatus::Incomplete,
        Some(_) => CellStatus::Ok,
    };
    // Without clean runs in both arms there is nothing to compare.
    let drop = (status != CellStatus::AllDegenerate).then(|| pair.difference(maps.drop, options));
    Cell {
        intermediate: grid.name(intermediate).to_owned(),
        task: grid.study.tasks[task].name.clone(),
        role: maps.role,
        status,
        n_failed: arm.failed,
        n_degenerate: arm.degenerate(),
        n_degenerate_base: base.map_or(0, crate::grid::Arm::degenerate),
        keep: pair.difference(maps.keep, options),
        drop,
        degenerate_part: None,
        degenerate_fraction: None,
    }
}

/// The place of a cell's two arms.
struct ArmPair<'a> {
    grid: &'a Grid<'a>,
    task: usize,
    intermediate: usize,
    place: usize,
}

impl ArmPair<'_> {
    fn difference(&self, map: &Map, options: &Options) -> Difference {
        let x = map.estimate(self.place, self.intermediate);
        let y = self.grid.baseline.and_then(|baseline| map.estimate(self.place, baseline));
        let mut found = Difference {
            arms: Arms {
                n: x.map_or(0, |x| x.n),
                n_base: y.map_or(0, |y| y.n),
                mean: x.map(|x| x.mean),
                sd: x.and_then(Estimate::sd),
                base_mean: y.map(|y| y.mean),
                base_sd: y.and_then(Estimate::sd),
            },
            ..Difference::default()
        };
        let (Some(x), Some(y), Some(baseline)) = (x, y, self.grid.baseline) else { return found };
        let delta = self.grid.study.tasks[self.task].sign() * (x.mean - y.mean);
        let alpha = options.alpha.value();
        let precisions = x.precision.zip(y.precision);
        found.delta = Some(delta);
        found.set(precisions.and_then(|(x, y)| compare(delta, x, y, options.method, alpha)));
        found.welch = match options.method {
            Method::Welch => found.welch(),
            Method::Moderated => {
                let own = x.own_precision().zip(y.own_precision());
                WelchTest::from(own.and_then(|(x, y)| compare(delta, x, y, Method::Welch, alpha)))
            }
        };
        // The permutation test takes the scores themselves: nothing about it is shrunk.
        let scores = |intermediate| self.grid.arm(self.task, intermediate).scores(map.mode);
        found.p_perm = exact_p(scores(self.intermediate), scores(baseline));
        found
    }
}

impl Difference {
    fn set(&mut self, test: Option<Test>) {
        self.se = test.map(|test| test.se);
        self.df = test.map(|test| test.df);
        self.lo = test.map(|test| test.lo);
        self.hi = test.map(|test| test.hi);
        self.t = test.map(|test| test.t);
        self.p = test.map(|test| test.p);
    }

    /// The headline's numbers, where Welch's test is the headline.
    fn welch(&self) -> WelchTest {
        WelchTest { se: self.se, df: self.df, lo: self.lo, hi: self.hi, p: self.p }
    }
}

impl From<Option<Test>> for WelchTest {
    fn from(test: Option<Test>) -> Self {
        test.map_or_else(Self::default, |test| Self {
            se: Some(test.se),
            df: Some(test.df),
            lo: Some(test.lo),
            hi: Some(test.hi),
            p: Some(test.p),
        })
    }
}

fn adjust(mut differences: Vec<Option<&mut Difference>>) {
    let p: Vec<Option<f64>> = differences.iter().map(|difference| difference.as_ref()?.p).collect();
    let (by_holm, by_bh) = (over_defined(&p, holm), over_defined(&p, benjamini_hochberg));
    for ((difference, holm), bh) in differences.iter_mut().zip(by_holm).zip(by_bh) {
        if let Some(difference) = difference {
            (difference.p_holm, difference.p_bh) = (holm, bh);
        }
    }
}

/// How much of the delta the degenerate runs explain.
fn explain(cell: &mut Cell, alpha: f64) {
    let drop = cell.drop.as_ref().and_then(|drop| drop.delta);
    let Some((keep, drop)) = cell.keep.delta.zip(drop) else { return };
    cell.degenerate_part = Some(keep - drop);
    // A share of a delta near 0 would be a huge number about nothing.
    let significant = cell.keep.p.is_some_and(|p| p < alpha) && keep != 0.0;
    // Adding 0 turns the -0 of an untouched loss into 0.
    cell.degenerate_fraction = significant.then(|| (keep - drop) / keep + 0.0);
}
