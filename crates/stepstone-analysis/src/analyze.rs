//! From the observations of one study to its analysis: each statistic is computed once, in one place.

use crate::additivity::{Additivity, additivity};
use crate::analysis::{Analysis, Choices, Input, Modes, Names, Results, SCHEMA, Variance, Variances};
use crate::averages::{Deltas, averages};
use crate::baseline::task_summaries;
use crate::best::best;
use crate::cells::{Cell, Difference, MapPair, cells};
use crate::correlations::correlate;
use crate::degenerate::degenerate;
use crate::findings::findings;
use crate::grid::Grid;
use crate::hints::hints;
use crate::influence::influence;
use crate::input::{Observations, Outcome};
use crate::map::Map;
use crate::observation::Role;
use crate::options::{Mode, Options};
use crate::power::power;
use crate::reliability::reliability;
use crate::structure::{curves, relations};
use crate::table::ScoreTable;

/// Level and power that restarts are planned for, whatever the level of the tests: a plan is for the next study, and
/// these two are what readers expect of one.
const PLANNING_ALPHA: f64 = 0.05;
const PLANNING_POWER: f64 = 0.8;

/// Analyses one study. Every input gives an answer; what cannot be said is `None`.
pub fn analyze(study: &Observations, options: &Options) -> Analysis {
    let grid = Grid::new(study, &options.baseline);
    let maps = Maps::new(&grid, options);
    let mut all = cells(&grid, &maps.pair(Role::Target), options);
    all.extend(cells(&grid, &maps.pair(Role::Probe), options));
    let names = |role| grid.tasks(role).into_iter().map(|task| study.tasks[task].name.clone()).collect();
    let degenerate = degenerate(&grid);
    let keep = results(&grid, &maps, &all, Mode::Keep, options);
    // Without degenerate runs both modes are the same, and the correlations are the most expensive part.
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
        names: Names {
            intermediates: grid.intermediates.iter().map(|&i| grid.name(i).to_owned()).collect(),
            targets: names(Role::Target),
            probes: names(Role::Probe),
        },
        tasks: task_summaries(&grid, |role, mode| maps.of(role, mode)),
        cells: all,
        degenerate,
        hints: hints(study),
        modes,
        findings: Vec::new(),
    };
    // Last, because findings read everything else.
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

/// The results of [`Mode::Drop`] when no run is degenerate: those of [`Mode::Keep`] without the bootstrap, which only
/// `keep` runs.
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

fn input(study: &Observations) -> Input {
    let used = study.runs.iter().filter(|run| run.outcome != Outcome::Unusable).count();
    Input { rows: study.lines, used, failed: study.lines - used, notes: study.notes.clone() }
}

#[cfg(test)]
mod tests;
