//! The best start for each target, the baseline among the candidates, corrected for the
//! winner's curse.

mod probability;
mod shrinkage;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::comparison::{Precision, compare};
use crate::grid::Grid;
use crate::map::Map;
use crate::multiple::{holm, over_defined};
use crate::options::Options;

use probability::{Posterior, TailTables, probabilities};
use shrinkage::{Shrunk, shrink};

/// The candidates for the start of one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The target.
    pub task: String,
    /// Variance of the true means between intermediates, in points squared; `None` below three intermediates.
    pub tau2: Option<f64>,
    /// The mean that the intermediates are shrunk to, in points as scored.
    pub center: Option<f64>,
    /// The candidate with the best mean.
    pub top: Option<String>,
    /// The candidate with the best mean after shrinking.
    pub top_shrunk: Option<String>,
    /// The baseline first, then the intermediates by name; those whose spread is known. Empty without a
    /// baseline of known spread.
    pub candidates: Vec<Candidate>,
}

/// One possible start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The intermediate task, or the baseline's name.
    pub intermediate: String,
    /// Mean score in points, as scored.
    pub mean: f64,
    /// Gain over the baseline; positive is better.
    pub delta: f64,
    /// Gain after shrinking, the one to read for a winner; the baseline is not shrunk.
    pub delta_shrunk: Option<f64>,
    /// Probability of being the best candidate, under equal prior chances.
    pub p_best: f64,
    /// The same after shrinking.
    pub p_best_shrunk: Option<f64>,
    /// True if the candidate is not significantly below the best mean (Holm within the target).
    pub contender: bool,
}

impl Best {
    /// The candidate of a name.
    pub fn candidate(&self, name: &str) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| candidate.intermediate == name)
    }
}

/// The mean of a candidate with its precision; larger is better.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Index into the study's intermediates.
    intermediate: usize,
    mean: f64,
    precision: Precision,
}

/// The best start for every target of a map.
pub(crate) fn best(grid: &Grid<'_>, map: &Map, options: &Options) -> Vec<Best> {
    let candidates: Vec<Vec<Known>> = (0..map.tasks.len()).map(|place| candidates(grid, map, place)).collect();
    let tables = TailTables::new(candidates.iter().flatten().map(|known| known.precision.df));
    let each = candidates.par_iter().enumerate();
    each.map(|(place, known)| best_start(grid, map, place, known, &tables, options)).collect()
}

/// The baseline and every intermediate whose spread is known, the baseline first. Empty if the baseline's
/// spread is unknown, because staying with the baseline is one of the answers.
fn candidates(grid: &Grid<'_>, map: &Map, place: usize) -> Vec<Known> {
    let Some(baseline) = grid.baseline.filter(|&baseline| map.estimate(place, baseline).is_some()) else {
        return Vec::new();
    };
    let sign = grid.study.tasks[map.tasks[place]].sign();
    let known = |intermediate: usize| {
        let estimate = map.estimate(place, intermediate)?;
        let precision = estimate.precision.filter(|precision| precision.variance > 0.0)?;
        Some(Known { intermediate, mean: sign * estimate.mean, precision })
    };
    let Some(baseline) = known(baseline) else { return Vec::new() };
    [baseline].into_iter().chain(grid.intermediates.iter().copied().filter_map(known)).collect()
}

fn best_start(
    grid: &Grid<'_>,
    map: &Map,
    place: usize,
    known: &[Known],
    tables: &TailTables,
    options: &Options,
) -> Best {
    let task = &grid.study.tasks[map.tasks[place]];
    let mut found =
        Best { task: task.name.clone(), tau2: None, center: None, top: None, top_shrunk: None, candidates: Vec::new() };
    let baseline = grid.baseline.and_then(|baseline| map.estimate(place, baseline));
    let (Some(base), Some(top)) = (baseline.map(|base| task.sign() * base.mean), top(known)) else { return found };
    let name = |known: &Known| grid.name(known.intermediate).to_owned();
    let contenders = contenders(known, top, options);
    let p_best = probabilities(&posteriors(known), tables);
    found.top = Some(name(&known[top]));
    for ((known, p_best), contender) in known.iter().zip(p_best).zip(contenders) {
        found.candidates.push(Candidate {
            intermediate: name(known),
            mean: task.sign() * known.mean,
            delta: known.mean - base,
            delta_shrunk: None,
            p_best,
            p_best_shrunk: None,
            contender,
        });
    }
    let Some((shrunk, tau2, center)) = shrunk(known, grid.baseline) else { return found };
    (found.tau2, found.center) = (Some(tau2), Some(task.sign() * center));
    found.top_shrunk = top_shrunk(known, &shrunk).map(name);
    let p_best = probabilities(&posteriors(&shrunk), tables);
    for ((candidate, known), p_best) in found.candidates.iter_mut().zip(&shrunk).zip(p_best) {
        (candidate.delta_shrunk, candidate.p_best_shrunk) = (Some(known.mean - base), Some(p_best));
    }
    found
}

/// The place of the best mean; the first of equal ones, so the baseline before an intermediate.
fn top(known: &[Known]) -> Option<usize> {
    // Strictly greater, so that equal means go to the earlier candidate, and the baseline wins ties.
    (0..known.len()).reduce(|best, other| if known[other].mean > known[best].mean { other } else { best })
}

fn posteriors(known: &[Known]) -> Vec<Posterior> {
    let posterior = |known: &Known| Posterior {
        center: known.mean,
        scale: known.precision.variance.sqrt(),
        df: known.precision.df,
    };
    known.iter().map(posterior).collect()
}

/// For each candidate, whether it is not significantly below the one at `top`.
fn contenders(known: &[Known], top: usize, options: &Options) -> Vec<bool> {
    let alpha = options.alpha.value();
    // The best mean is not tested against itself; it is a contender by definition.
    let p = |(place, other): (usize, &Known)| {
        // Every candidate is compared with the best mean, not with the baseline: the question is what to choose.
        let delta = known[top].mean - other.mean;
        let test = compare(delta, known[top].precision, other.precision, options.method, alpha)?;
        (place != top).then_some(test.p)
    };
    let p: Vec<Option<f64>> = known.iter().enumerate().map(p).collect();
    // No p-value means that nothing is known against the candidate, so that it stays.
    over_defined(&p, holm).into_iter().map(|p| p.is_none_or(|p| p >= alpha)).collect()
}

/// The candidates with the intermediates shrunk to their centre, tau^2 and the centre.
fn shrunk(known: &[Known], baseline: Option<usize>) -> Option<(Vec<Known>, f64, f64)> {
    let is_intermediate = |known: &&Known| Some(known.intermediate) != baseline;
    let intermediates = known.iter().filter(is_intermediate);
    let means: Vec<(f64, f64)> = intermediates.map(|known| (known.mean, known.precision.variance)).collect();
    // The baseline is left out of the centre: it is the start of the comparison, not one of the chosen.
    let Shrunk { tau2, center, means } = shrink(&means)?;
    let mut means = means.into_iter();
    let each = known.iter().map(|known| match is_intermediate(&known).then(|| means.next()).flatten() {
        None => *known,
        Some((mean, variance)) => Known { mean, precision: Precision { variance, ..known.precision }, ..*known },
    });
    Some((each.collect(), tau2, center))
}

/// The best shrunk mean; ties within 1e-9 points go to the larger raw mean.
fn top_shrunk<'a>(known: &'a [Known], shrunk: &[Known]) -> Option<&'a Known> {
    let best = shrunk.iter().map(|known| known.mean).reduce(f64::max)?;
    let tied: Vec<Known> = known.iter().zip(shrunk).filter(|(_, s)| best - s.mean <= 1e-9).map(|(k, _)| *k).collect();
    let winner = tied[top(&tied)?].intermediate;
    known.iter().find(|known| known.intermediate == winner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_equal_means_is_the_best_so_that_the_baseline_wins_ties() {
        let known = |intermediate, mean| Known { intermediate, mean, precision: Precision { variance: 1.0, df: 2.0 } };
        assert_eq!(top(&[known(3, 70.0), known(0, 70.0), known(1, 69.0)]), Some(0));
        assert_eq!(top(&[known(3, 70.0), known(0, 71.0), known(1, 71.0)]), Some(1));
        assert_eq!(top(&[]), None);
    }
}
