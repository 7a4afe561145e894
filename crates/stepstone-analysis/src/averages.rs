//! The average gain of each intermediate over the targets, with an interval for "these targets" and one for "targets
//! like these".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::comparison::{Precision, compare, with_se};
use crate::grid::{Arm, Grid};
use crate::input::{Observations, Outcome};
use crate::map::Map;
use crate::moments::{mean, variance};
use crate::multiple::{holm, over_defined};
use crate::options::{Mode, Options};
use crate::ranks::{Ranked, ranks};

/// Averages over the targets, in one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Targets with a delta for every intermediate that has one at all; means and intervals are over these.
    pub common_tasks: Vec<String>,
    /// Prior degrees of freedom of the variances of row averages.
    #[serde(with = "crate::json::df")]
    pub prior_df: Option<f64>,
    /// One per intermediate, sorted by name.
    pub rows: Vec<Average>,
}

/// The average gain of one intermediate, in points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// The intermediate task.
    pub intermediate: String,
    /// Targets with a delta.
    pub n_tasks: usize,
    /// True if every target has a delta.
    pub complete: bool,
    /// Mean delta over the targets that have one.
    pub mean_all: Option<f64>,
    /// Mean delta over the common targets.
    pub mean: Option<f64>,
    /// Targets with a positive delta.
    pub wins: usize,
    /// For these targets.
    #[serde(flatten)]
    pub interval: Interval,
    /// For targets like these.
    #[serde(flatten)]
    pub general: General,
    /// Holm's adjusted p over the intermediates.
    pub p_holm: Option<f64>,
    /// Its place among the averages.
    #[serde(flatten)]
    pub rank: RankOfAverage,
}

/// Interval and test of an average gain, for these targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Standard error of the mean.
    pub se: Option<f64>,
    /// Degrees of freedom; may be infinite.
    #[serde(with = "crate::json::df")]
    pub df: Option<f64>,
    /// Lower end of the 1 - alpha interval.
    pub lo: Option<f64>,
    /// Upper end of the 1 - alpha interval.
    pub hi: Option<f64>,
    /// Two-sided p-value.
    pub p: Option<f64>,
    /// Where the standard error comes from.
    pub se_method: Option<SeMethod>,
}

/// The wider interval of an average gain, for targets like these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct General {
    /// Variance of the true delta between targets, in points squared.
    pub task_var: Option<f64>,
    /// Standard error of the mean.
    #[serde(rename = "gen_se")]
    pub se: Option<f64>,
    /// Degrees of freedom.
    #[serde(rename = "gen_df", with = "crate::json::df")]
    pub df: Option<f64>,
    /// Lower end of the 1 - alpha interval.
    #[serde(rename = "gen_lo")]
    pub lo: Option<f64>,
    /// Upper end of the 1 - alpha interval.
    #[serde(rename = "gen_hi")]
    pub hi: Option<f64>,
}

/// The rank of an average gain among all; 1 is best.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RankOfAverage {
    /// Mean rank under the uncertainty of the means.
    #[serde(rename = "expected_rank")]
    pub expected: Option<f64>,
    /// Best rank that the data allow, simultaneously for all intermediates at 1 - alpha.
    #[serde(rename = "rank_lo")]
    pub lo: Option<usize>,
    /// Worst rank that the data allow.
    #[serde(rename = "rank_hi")]
    pub hi: Option<usize>,
}

/// Where the standard error of an average comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeMethod {
    /// Averages of whole rows, which keep the covariance of targets that share an intermediate checkpoint.
    Rows,
    /// Variances of the cells, as if targets were independent: at least one arm has fewer than two complete rows.
    Cells,
}

/// The average of one start point over the common targets, before the baseline's mean is subtracted.
#[derive(Debug, Clone, Copy)]
struct AverageColumn {
    precision: Option<Precision>,
    method: SeMethod,
}

/// Averages over the targets of a map; `deltas` is `[intermediates][targets]`, `errors` their squared standard errors.
pub(crate) fn averages(grid: &Grid<'_>, map: &Map, table: &Deltas, options: &Options) -> Averages {
    // An average over other targets than the neighbour's could not be compared with it.
    let common = table.common();
    let arms = row_arms(grid, map, &common);
    // The averages form a task of their own: its arms are shrunk like those of any other task.
    let rows_map = Map::of_arms(&[(0.0, &arms)], map.mode, options.method);
    let column = |intermediate: usize| column(&rows_map, map, &common, intermediate);
    // The baseline is treated like an intermediate: its average is estimated once and used for every row.
    let baseline = grid.baseline.map(column);
    let columns: Vec<AverageColumn> = grid.intermediates.iter().map(|&intermediate| column(intermediate)).collect();

    let mut rows: Vec<Average> = Vec::with_capacity(columns.len());
    for (place, (&intermediate, column)) in grid.intermediates.iter().zip(&columns).enumerate() {
        let mut row = Average::new(grid.name(intermediate), &table.deltas[place], &common);
        row.test(*column, baseline, options);
        row.generalise(&table.deltas[place], &table.errors[place], &common, options);
        rows.push(row);
    }
    let adjusted = over_defined(&rows.iter().map(|row| row.interval.p).collect::<Vec<_>>(), holm);
    rows.iter_mut().zip(adjusted).for_each(|(row, p)| row.p_holm = p);
    rank(&mut rows, &columns, options);
    let prior_df = (!common.is_empty()).then_some(rows_map.prior.df);
    let common_tasks = common.iter().map(|&place| grid.study.tasks[map.tasks[place]].name.clone()).collect();
    Averages { common_tasks, prior_df, rows }
}

/// Deltas of one role's cells in one mode, in points.
pub(crate) struct Deltas {
    /// `[intermediates][tasks]`.
    pub deltas: Vec<Vec<Option<f64>>>,
    /// Squared standard errors of the deltas, `[intermediates][tasks]`.
    pub errors: Vec<Vec<Option<f64>>>,
}

impl Deltas {
    /// Places of the tasks that have a delta for every intermediate that has one at all.
    pub(crate) fn common(&self) -> Vec<usize> {
        let rows: Vec<&Vec<Option<f64>>> = self.deltas.iter().filter(|row| row.iter().any(Option::is_some)).collect();
        let tasks = rows.first().map_or(0, |row| row.len());
        (0..tasks).filter(|&place| rows.iter().all(|row| row[place].is_some())).collect()
    }
}

/// Sum over the common targets of one row of the score table.
#[derive(Default)]
struct RowSum {
    signed: f64,
    scores: usize,
    degenerate: bool,
}

/// For every start point the averages of its complete rows, as an arm of a task named "average".
fn row_arms(grid: &Grid<'_>, map: &Map, common: &[usize]) -> Vec<Arm> {
    let mut arms = vec![Arm::default(); grid.study.intermediates.len()];
    for ((intermediate, _), row) in row_sums(grid.study, map, common) {
        // A row that lacks a target would have another mean for that reason alone.
        if row.scores == common.len() {
            let average = row.signed / common.len() as f64;
            // The row counts as degenerate if one of its runs is: its average is then a mixture.
            arms[intermediate as usize].all.push(average);
            if !row.degenerate {
                arms[intermediate as usize].clean.push(average);
            }
        }
    }
    arms
}

fn row_sums(study: &Observations, map: &Map, common: &[usize]) -> BTreeMap<(u32, i64), RowSum> {
    let mut sums: BTreeMap<(u32, i64), RowSum> = BTreeMap::new();
    let in_common: Vec<bool> = {
        let mut mask = vec![false; study.tasks.len()];
        common.iter().for_each(|&place| mask[map.tasks[place]] = true);
        mask
    };
    for run in study.runs.iter().filter(|run| in_common[run.task as usize]) {
        let degenerate = matches!(run.outcome, Outcome::Degenerate(_));
        if run.outcome == Outcome::Unusable || (degenerate && map.mode == Mode::Drop) {
            continue;
        }
        let sum = sums.entry((run.intermediate, run.seed)).or_default();
        // Signed before averaging, so that a loss that falls adds to a score that rises.
        sum.signed += study.tasks[run.task as usize].sign() * run.points;
        sum.scores += 1;
        sum.degenerate |= degenerate;
    }
    sums
}

fn column(rows: &Map, cells: &Map, common: &[usize], intermediate: usize) -> AverageColumn {
    match rows.estimate(0, intermediate) {
        // Two complete rows are the fewest that show how targets of one checkpoint move together.
        Some(average) if average.n >= 2 => AverageColumn { precision: average.precision, method: SeMethod::Rows },
        _ => AverageColumn { precision: from_cells(cells, common, intermediate), method: SeMethod::Cells },
    }
}

/// Variance of the mean of independent cells, with Satterthwaite's degrees of freedom.
fn from_cells(map: &Map, common: &[usize], intermediate: usize) -> Option<Precision> {
    let (mut variance, mut squares) = (0.0, 0.0);
    for &place in common {
        let cell = map.estimate(place, intermediate)?.precision?;
        variance += cell.variance;
        squares += cell.variance * cell.variance / cell.df;
    }
    let n = common.len() as f64;
    (variance > 0.0).then(|| Precision { variance: variance / (n * n), df: variance * variance / squares })
}

impl Average {
    fn new(intermediate: &str, deltas: &[Option<f64>], common: &[usize]) -> Self {
        // Two means: rows can only be compared over the common targets, but those leave out what a single row lacks.
        let defined: Vec<f64> = deltas.iter().flatten().copied().collect();
        let shared: Vec<f64> = common.iter().filter_map(|&place| deltas[place]).collect();
        let mean_of = |values: &[f64]| (!values.is_empty()).then(|| mean(values));
        Self {
            intermediate: intermediate.to_owned(),
            n_tasks: defined.len(),
            complete: defined.len() == deltas.len(),
            mean_all: mean_of(&defined),
            mean: mean_of(&shared),
            wins: defined.iter().filter(|delta| **delta > 0.0).count(),
            interval: Interval::default(),
            general: General::default(),
            p_holm: None,
            rank: RankOfAverage::default(),
        }
    }

    fn test(&mut self, own: AverageColumn, baseline: Option<AverageColumn>, options: &Options) {
        let (Some(mean), Some(baseline)) = (self.mean, baseline) else { return };
        let Some((x, y)) = own.precision.zip(baseline.precision) else { return };
        let Some(test) = compare(mean, x, y, options.method, options.alpha.value()) else { return };
        // The weaker of the two methods names the result.
        let by_rows = own.method == SeMethod::Rows && baseline.method == SeMethod::Rows;
        self.interval = Interval {
            se: Some(test.se),
            df: Some(test.df),
            lo: Some(test.lo),
            hi: Some(test.hi),
            p: Some(test.p),
            se_method: Some(if by_rows { SeMethod::Rows } else { SeMethod::Cells }),
        };
    }

    /// The wider interval, for targets like these: the spread of the true deltas between targets counts too.
    fn generalise(&mut self, deltas: &[Option<f64>], errors: &[Option<f64>], common: &[usize], options: &Options) {
        let (Some(mean_delta), Some(se), Some(df)) = (self.mean, self.interval.se, self.interval.df) else { return };
        // Two targets cannot show how targets differ.
        if common.len() < 3 {
            return;
        }
        let n = common.len() as f64;
        let deltas: Vec<f64> = common.iter().filter_map(|&place| deltas[place]).collect();
        // A cell without a standard error is taken as exact, which errs towards the wider interval.
        let noise = mean(&common.iter().map(|&place| errors[place].unwrap_or(0.0)).collect::<Vec<_>>());
        // The observed spread of the deltas holds their seed noise too; what is left is that of the targets.
        let task_var = (variance(&deltas).unwrap_or(0.0) - noise).max(0.0);
        // At most n - 1 degrees of freedom: the variance between targets was estimated from n of them.
        let test = with_se(mean_delta, (se * se + task_var / n).sqrt(), df.min(n - 1.0), options.alpha.value());
        self.general = General {
            task_var: Some(task_var),
            se: Some(test.se),
            df: Some(test.df),
            lo: Some(test.lo),
            hi: Some(test.hi),
        };
    }
}

fn rank(rows: &mut [Average], columns: &[AverageColumn], options: &Options) {
    let ranked: Vec<Ranked> = rows
        .iter()
        .zip(columns)
        .filter_map(|(row, column)| Some(Ranked { mean: row.mean?, precision: column.precision }))
        .collect();
    let mut found = ranks(&ranked, options).into_iter();
    for row in rows.iter_mut().filter(|row| row.mean.is_some()) {
        if let Some(rank) = found.next() {
            row.rank = RankOfAverage { expected: rank.expected, lo: Some(rank.lo), hi: Some(rank.hi) };
        }
    }
}
