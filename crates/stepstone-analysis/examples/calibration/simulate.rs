//! Simulated studies whose truth is known, analysed through the public API, and what their intervals and tests did.

use std::f64::consts::PI;
use std::ops::Add;

use rayon::prelude::*;
use stepstone_analysis::{Analysis, Mode, Observation, Options, Role, SplitMix64, analyze, parse, write_observations};

/// Intermediates, as in the ACL 2020 study.
pub(crate) const INTERMEDIATES: usize = 11;

/// Level of all tests.
const ALPHA: f64 = 0.05;

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    /// How often it happened.
    pub(crate) hits: u64,
    /// How often it could have happened.
    pub(crate) of: u64,
}

impl Rate {
    /// The share; NaN if it never could.
    pub(crate) fn share(self) -> f64 {
        self.hits as f64 / self.of as f64
    }

    fn count(&mut self, hit: Option<bool>) {
        self.hits += u64::from(hit == Some(true));
        self.of += u64::from(hit.is_some());
    }
}

impl Add for Rate {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { hits: self.hits + other.hits, of: self.of + other.of }
    }
}

/// What the intervals and tests of deltas did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Deltas {
    /// Moderated intervals of cells that hold the true delta.
    pub(crate) covered: Rate,
    /// Welch intervals of cells that hold it.
    pub(crate) welch_covered: Rate,
    /// Moderated tests of null cells that reject.
    pub(crate) rejected: Rate,
    /// Welch tests of null cells that reject.
    pub(crate) welch_rejected: Rate,
    /// Moderated tests of cells with an effect that reject.
    pub(crate) power: Rate,
    /// The same by Welch's test.
    pub(crate) welch_power: Rate,
    /// Studies in which Holm rejects a null cell.
    pub(crate) family_wise: Rate,
    /// Seed intervals of average gains that hold the true average.
    pub(crate) average_covered: Rate,
    /// Tests of average gains of null intermediates that reject.
    pub(crate) average_rejected: Rate,
}

/// What the tests of correlations did where intermediates' effects on the two tasks are unrelated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Correlations {
    /// Over rows, as if restarts were independent.
    pub(crate) rows: Rate,
    /// Over means of intermediates.
    pub(crate) means: Rate,
    /// Cluster permutation.
    pub(crate) permutation: Rate,
    /// Studies in which the maximum over target-probe pairs rejects one.
    pub(crate) family_wise: Rate,
    /// Inside intermediates.
    pub(crate) within: Rate,
    /// General factor held fixed.
    pub(crate) partial: Rate,
    /// Intervals of the correlation of means that hold 0.
    pub(crate) covered: Rate,
    /// Cluster bootstrap intervals that hold 0.
    pub(crate) bootstrap_covered: Rate,
}

/// Random numbers of one study.
struct Draw(SplitMix64);

impl Draw {
    /// Streams of different studies start far apart.
    fn new(study: u64) -> Self {
        Self(SplitMix64::new(SplitMix64::new(study).next_u64()))
    }

    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 1.0) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (2.0 * PI * self.uniform()).cos()
    }

    /// Chi-square with 4 degrees of freedom.
    fn chi_square_4(&mut self) -> f64 {
        -2.0 * (self.uniform() * self.uniform()).ln()
    }
}

fn analyzed(observations: &[Observation], options: &Options) -> Analysis {
    let text = write_observations(observations);
    let study = parse("simulated.csv", text.as_bytes()).expect("a simulated file is whole").studies.remove(0);
    analyze(&study, options)
}

fn name(prefix: &str, index: usize) -> String {
    format!("{prefix}{index:02}")
}

/// Studies of `targets` targets with seed sd from 0.3 to 4 points; the variance of an arm is that of its task times
/// 4/chi-square(4); every third intermediate moves every target by 3 sd up or down (docs/statistics.md).
pub(crate) fn deltas(studies: u64, targets: usize, n: usize, n0: usize) -> Deltas {
    let add = |a: Deltas, b: Deltas| Deltas {
        covered: a.covered + b.covered,
        welch_covered: a.welch_covered + b.welch_covered,
        rejected: a.rejected + b.rejected,
        welch_rejected: a.welch_rejected + b.welch_rejected,
        power: a.power + b.power,
        welch_power: a.welch_power + b.welch_power,
        family_wise: a.family_wise + b.family_wise,
        average_covered: a.average_covered + b.average_covered,
        average_rejected: a.average_rejected + b.average_rejected,
    };
    (0..studies).into_par_iter().map(|study| delta_study(study, targets, n, n0)).reduce(Deltas::default, add)
}

fn delta_study(study: u64, targets: usize, n: usize, n0: usize) -> Deltas {
    let mut draw = Draw::new(study);
    let mut observations = Vec::new();
    let mut truth = vec![vec![0.0; targets]; INTERMEDIATES];
    for target in 0..targets {
        let sd = 0.3 * (4.0f64 / 0.3).powf(target as f64 / (targets as f64 - 1.0).max(1.0));
        for arm in 0..=INTERMEDIATES {
            let base = arm == INTERMEDIATES;
            let effect =
                if arm % 3 == 0 && !base { 3.0 * sd * if draw.uniform() < 0.5 { 1.0 } else { -1.0 } } else { 0.0 };
            let arm_sd = sd * (4.0 / draw.chi_square_4()).sqrt();
            for seed in 0..if base { n0 } else { n } {
                let score = 70.0 + effect + arm_sd * draw.normal();
                let intermediate = if base { "none".to_owned() } else { name("i", arm) };
                observations.push(Observation::new(
                    &intermediate,
                    seed as i64,
                    &name("t", target),
                    Role::Target,
                    score,
                ));
            }
            if !base {
                truth[arm][target] = effect;
            }
        }
    }
    let options = Options { permutations: 0, bootstraps: 0, ..Options::default() };
    tally_deltas(&analyzed(&observations, &options), &truth)
}

fn tally_deltas(analysis: &Analysis, truth: &[Vec<f64>]) -> Deltas {
    let mut found = Deltas::default();
    let mut false_alarm = false;
    let inside = |lo: Option<f64>, hi: Option<f64>, truth: f64| Some((lo?..=hi?).contains(&truth));
    let below = |p: Option<f64>| p.map(|p| p < ALPHA);
    let number = |name: &str| name[1..].parse::<usize>().expect("names end in their number");
    for cell in &analysis.cells {
        let (truth, r) = (truth[number(&cell.intermediate)][number(&cell.task)], &cell.keep);
        found.covered.count(inside(r.lo, r.hi, truth));
        found.welch_covered.count(inside(r.welch.lo, r.welch.hi, truth));
        if truth == 0.0 {
            found.rejected.count(below(r.p));
            found.welch_rejected.count(below(r.welch.p));
            false_alarm |= below(r.p_holm) == Some(true);
        } else {
            found.power.count(below(r.p));
            found.welch_power.count(below(r.welch.p));
        }
    }
    found.family_wise.count(Some(false_alarm));
    for row in &analysis.modes.keep.averages.rows {
        let truth = &truth[number(&row.intermediate)];
        let average = truth.iter().sum::<f64>() / truth.len() as f64;
        found.average_covered.count(inside(row.interval.lo, row.interval.hi, average));
        if truth.iter().all(|effect| *effect == 0.0) {
            found.average_rejected.count(below(row.interval.p));
        }
    }
    found
}

/// Studies of two targets and four probes in which every task has its own intermediate effects, `icc` of its variance,
/// so that no two tasks are related.
pub(crate) fn correlations(studies: u64, n: usize, icc: f64, permutations: u32, bootstraps: u32) -> Correlations {
    let add = |a: Correlations, b: Correlations| Correlations {
        rows: a.rows + b.rows,
        means: a.means + b.means,
        permutation: a.permutation + b.permutation,
        family_wise: a.family_wise + b.family_wise,
        within: a.within + b.within,
        partial: a.partial + b.partial,
        covered: a.covered + b.covered,
        bootstrap_covered: a.bootstrap_covered + b.bootstrap_covered,
    };
    let options = Options { permutations, bootstraps, ..Options::default() };
    let study = |study| correlation_study(study, n, icc, &options);
    (0..studies).into_par_iter().map(study).reduce(Correlations::default, add)
}

fn correlation_study(study: u64, n: usize, icc: f64, options: &Options) -> Correlations {
    let mut draw = Draw::new(study);
    let mut observations = Vec::new();
    for (task, role) in (0..6).map(|task| (name("t", task), if task < 2 { Role::Target } else { Role::Probe })) {
        for intermediate in 0..INTERMEDIATES {
            let effect = icc.sqrt() * draw.normal();
            for seed in 0..n {
                let score = 70.0 + effect + (1.0 - icc).sqrt() * draw.normal();
                observations.push(Observation::new(&name("i", intermediate), seed as i64, &task, role, score));
            }
        }
    }
    tally_correlations(&analyzed(&observations, options))
}

fn tally_correlations(analysis: &Analysis) -> Correlations {
    let mut found = Correlations::default();
    let below = |p: Option<f64>| p.map(|p| p < ALPHA);
    let holds_zero = |lo: Option<f64>, hi: Option<f64>| Some((lo?..=hi?).contains(&0.0));
    let pairs = &analysis.modes.of(Mode::Keep).correlations.pairs;
    for pair in pairs {
        found.rows.count(below(pair.rows.p));
        found.means.count(below(pair.means.p));
        found.permutation.count(below(pair.permutation.p));
        found.within.count(below(pair.within.p));
        found.partial.count(below(pair.partial.p));
        found.covered.count(holds_zero(pair.means.lo, pair.means.hi));
        found.bootstrap_covered.count(holds_zero(pair.bootstrap.lo, pair.bootstrap.hi));
    }
    found.family_wise.count(Some(pairs.iter().any(|pair| below(pair.permutation.p_maxt) == Some(true))));
    found
}
