//! Correlations between task scores: which tasks are good together across start points?
//!
//! The rows of the score table are restarts, and restarts of one intermediate task are not independent: tested as if they
//! were, 16 to 26 % of true nulls are rejected at 0.05 (docs/statistics.md). The headline is therefore the correlation
//! of the intermediates' means with a cluster permutation test; the correlation over all rows is reported beside it.

mod cluster_bootstrap;
mod cluster_permutation;
mod families;
mod frame;
mod general_factor;
mod leave_one_out;
mod pair;
mod within;
pub(crate) mod words;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub(crate) use families::FamilySizes;
pub(crate) use pair::{Kind, Pair};

use crate::coefficient::{Ranks, spearman_interval, spearman_of_ranks, tau_b, tested};
use crate::multiple::{holm, over_defined};
use crate::observation::Role;
use crate::options::{Mode, Options};
use crate::rng;
use crate::table::ScoreTable;
use cluster_permutation::{Permutable, maximum_p, permutable, permute};
use frame::{Frame, FramePair};
use general_factor::Factors;
use pair::{Adjusted, Bootstrap, LeftOut, OverMeans, OverRows, Permutation};

/// All correlations of one mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correlations {
    /// Rows of the score table: restarts of intermediates.
    pub rows: usize,
    /// Intermediates with a row.
    pub clusters: usize,
    /// Sizes of the families of tests.
    pub family_sizes: FamilySizes,
    /// Target pairs a < b, then targets x probes.
    pub pairs: Vec<Pair>,
}

impl Correlations {
    /// The same without the bootstrap's intervals: what mode `drop` is if no run is degenerate.
    pub fn without_bootstrap(&self) -> Self {
        let mut plain = self.clone();
        plain.pairs.iter_mut().for_each(|pair| pair.bootstrap = Bootstrap::default());
        plain
    }
}

/// Correlates every two targets, and every target with every probe. The bootstrap is run for [`Mode::Keep`] only.
///
/// No number depends on the number of threads or on the order in which observations came.
pub(crate) fn correlate(table: &ScoreTable, mode: Mode, options: &Options) -> Correlations {
    let columns = pair_columns(table);
    let frames = frame::group(table, &columns);
    let mut pairs: Vec<Option<Pair>> = vec![None; columns.len()];
    for frame in &frames {
        let found: Vec<Pair> = {
            let factors = Factors::new(table, frame);
            frame.pairs.par_iter().map(|pair| describe(table, frame, pair, &factors, options)).collect()
        };
        frame.pairs.iter().zip(found).for_each(|(pair, found)| pairs[pair.index] = Some(found));
    }
    // Every pair is in exactly one frame.
    let mut pairs: Vec<Pair> = pairs.into_iter().flatten().collect();
    // Permutations and resamples come after the pairs, since all pairs of a frame share each draw.
    permute_all(&frames, &mut pairs, options);
    if mode == Mode::Keep {
        resample_all(&frames, &mut pairs, options);
    }
    let family_sizes = families::adjust(&mut pairs, self_tested(table));
    Correlations { rows: table.rows.len(), clusters: table.intermediates.len(), family_sizes, pairs }
}

/// How many correlations are significant in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Significant {
    /// Rows of the table.
    pub rows: usize,
    /// Pairs that are correlated.
    pub pairs: usize,
    /// Pairs with a Holm-adjusted p below alpha in the family `distinct`.
    pub distinct: usize,
    /// Pairs with a Holm-adjusted p below alpha in the family `means`.
    pub means: usize,
}

/// Counts the significant correlations of a table without the rows of some intermediates: do they rest on these?
pub(crate) fn significant_without(table: &ScoreTable, left_out: &[&str], options: &Options) -> Significant {
    let (table, alpha) = (table.without(left_out), options.alpha.value());
    let columns = pair_columns(&table);
    let mut p = vec![(None, None); columns.len()];
    for frame in &frame::group(&table, &columns) {
        let found: Vec<_> = frame.pairs.par_iter().map(|pair| rank_p(frame, pair)).collect();
        frame.pairs.iter().zip(found).for_each(|(pair, found)| p[pair.index] = found);
    }
    let (rows, means): (Vec<Option<f64>>, Vec<Option<f64>>) = p.into_iter().unzip();
    let significant = |p: &[Option<f64>]| over_defined(p, holm).into_iter().flatten().filter(|p| *p < alpha).count();
    Significant {
        rows: table.rows.len(),
        pairs: columns.len(),
        distinct: significant(&rows),
        means: significant(&means),
    }
}

/// The p-values of rho over rows and over means.
fn rank_p(frame: &Frame, pair: &FramePair) -> (Option<f64>, Option<f64>) {
    let (x, y) = (&frame.columns[pair.x], &frame.columns[pair.y]);
    let p = |x: &Ranks, y: &Ranks, n: usize| spearman_of_ranks(x, y).ok().and_then(|rho| tested(rho, n).p);
    (p(&x.ranks, &y.ranks, frame.rows()), p(&x.mean_ranks, &y.mean_ranks, frame.k()))
}

/// Pairs of table columns: targets a < b, then targets x probes.
fn pair_columns(table: &ScoreTable) -> Vec<(usize, usize)> {
    let targets = table.columns.iter().take_while(|column| column.role == Role::Target).count();
    // Probe pairs are not formed: the question is what goes with targets.
    let target_pairs = (0..targets).flat_map(|a| (a + 1..targets).map(move |b| (a, b)));
    let probe_pairs = (0..targets).flat_map(|a| (targets..table.columns.len()).map(move |b| (a, b)));
    target_pairs.chain(probe_pairs).collect()
}

/// Everything about one pair but what is resampled or adjusted.
fn describe(table: &ScoreTable, frame: &Frame, pair: &FramePair, factors: &Factors, options: &Options) -> Pair {
    let (x, y) = (&frame.columns[pair.x], &frame.columns[pair.y]);
    let [x_task, y_task] = [x, y].map(|column| &table.columns[column.table_column]);
    let (n, k, alpha) = (frame.rows(), frame.k(), options.alpha.value());
    let rho = spearman_of_ranks(&x.ranks, &y.ranks).map(|rho| tested(rho, n));
    let pearson = x.centred.correlation(&y.centred).map(|r| tested(r, n)).ok();
    let tau = tau_b(&x.ranks, &y.ranks).ok();
    let means = spearman_of_ranks(&x.mean_ranks, &y.mean_ranks).map(|rho| tested(rho, k)).ok();
    let interval = means.and_then(|means| spearman_interval(means.r, k, alpha));
    let without = means.map(|means| leave_one_out::leave_one_out(frame, pair, means, alpha)).unwrap_or_default();
    Pair {
        x: x_task.task.clone(),
        y: y_task.task.clone(),
        kind: if y_task.role == Role::Target { Kind::TargetTarget } else { Kind::TargetProbe },
        rows: OverRows {
            n,
            rho: rho.ok().map(|rho| rho.r),
            p: rho.ok().and_then(|rho| rho.p),
            reason: rho.err(),
            pearson: pearson.map(|pearson| pearson.r),
            p_pearson: pearson.and_then(|pearson| pearson.p),
            tau_b: tau.map(|tau| tau.r),
            p_tau: tau.and_then(|tau| tau.p),
        },
        means: OverMeans {
            k,
            rho: means.map(|means| means.r),
            p: means.and_then(|means| means.p),
            lo: interval.map(|interval| interval.0),
            hi: interval.map(|interval| interval.1),
        },
        within: within::within(frame, pair),
        partial: means.and_then(|_| factors.partial(frame, pair)).unwrap_or_default(),
        left_out: LeftOut {
            min: without.min,
            max: without.max,
            name: without.most.map(|intermediate| table.intermediates[intermediate as usize].clone()),
            decisive: without.decisive,
        },
        // Resampled and adjusted later, over all pairs at once.
        permutation: Permutation::default(),
        bootstrap: Bootstrap::default(),
        adjusted: Adjusted::default(),
    }
}

/// Cluster permutation tests: each pair on its own, then target-probe pairs against the maximum over all of them.
fn permute_all(frames: &[Frame], pairs: &mut [Pair], options: &Options) {
    if options.permutations == 0 {
        return;
    }
    // Every pair sees the same permutations: the maximum over pairs is only meaningful within one permutation.
    let orders = by_k(frames, |k| rng::permutations(options.rng_seed, options.permutations, k));
    let mut maxima = vec![0.0f64; options.permutations as usize];
    let mut probes: Vec<(usize, f64)> = Vec::new();
    for frame in frames {
        let of_pair = |pair: &FramePair| permutable(frame, pair, pairs[pair.index].kind == Kind::TargetProbe);
        let permutables: Vec<Permutable> = frame.pairs.par_iter().filter_map(of_pair).collect();
        let permuted = permute(&permutables, &orders[&frame.k()], frame.k());
        for (permutable, p) in permutables.iter().zip(permuted.p) {
            let pair = &mut pairs[permutable.index];
            (pair.permutation.p, pair.permutation.on) = (Some(p), Some(permutable.on));
            if pair.kind == Kind::TargetProbe {
                probes.push((permutable.index, permutable.observed));
            }
        }
        maxima.iter_mut().zip(permuted.maxima).for_each(|(largest, found)| *largest = largest.max(found));
    }
    // Sorted once, each of the pairs then needs one binary search.
    maxima.sort_unstable_by(f64::total_cmp);
    probes.iter().for_each(|(index, observed)| pairs[*index].permutation.p_maxt = Some(maximum_p(&maxima, *observed)));
}

/// Cluster bootstrap intervals.
fn resample_all(frames: &[Frame], pairs: &mut [Pair], options: &Options) {
    // Another seed than that of the permutations, so that the two draws are unrelated.
    let weights = by_k(frames, |k| rng::resample_weights(options.rng_seed.wrapping_add(1), options.bootstraps, k));
    for frame in frames {
        let intervals = cluster_bootstrap::intervals(frame, &weights[&frame.k()], options.alpha.value());
        for (pair, interval) in frame.pairs.iter().zip(intervals) {
            let pair = &mut pairs[pair.index];
            pair.bootstrap = Bootstrap { lo: interval.map(|(lo, _)| lo), hi: interval.map(|(_, hi)| hi) };
        }
    }
}

/// Random draws for every number of intermediates that a frame has; each starts anew from the seed.
fn by_k(frames: &[Frame], draw: impl Fn(usize) -> Vec<u32>) -> BTreeMap<usize, Vec<u32>> {
    let mut draws = BTreeMap::new();
    for frame in frames {
        draws.entry(frame.k()).or_insert_with(|| draw(frame.k()));
    }
    draws
}

/// Number of targets whose correlation with themselves has a p-value.
fn self_tested(table: &ScoreTable) -> usize {
    let targets = table.columns.iter().filter(|column| column.role == Role::Target);
    let scores = targets.map(|target| target.scores.iter().flatten().copied().collect::<Vec<f64>>());
    scores.filter(|scores| crate::coefficient::spearman(scores, scores).is_ok_and(|found| found.p.is_some())).count()
}

#[cfg(test)]
mod tests;
