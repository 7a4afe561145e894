//! The whole analysis of one study as data: everything that the report, the exports and the JSON show.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::additivity::Additivity;
use crate::averages::Averages;
use crate::baseline::TaskSummary;
use crate::best::Best;
use crate::cells::Cell;
use crate::correlations::Correlations;
use crate::degenerate::Degenerate;
use crate::finding::{Finding, Topic};
use crate::hints::Hints;
use crate::influence::Influence;
use crate::options::{Family, Method, Mode, Options};
use crate::power::Power;
use crate::relation::Relation;
use crate::reliability::Reliability;
use crate::structure::Curve;

/// Name and version of the output's form.
pub(crate) const SCHEMA: &str = "stepstone.analysis/1";

/// The analysis of one study with one encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Name and version of this format.
    pub schema: String,
    /// Name of the study; may be empty.
    pub study: String,
    /// Name of the pretrained encoder; may be empty.
    pub encoder: String,
    /// Conclusions that the numbers support, in plain words, the most important first.
    // Before the numbers, so that whoever opens analysis.json sees a warning first.
    pub findings: Vec<Finding>,
    /// Options of the analysis.
    pub options: Choices,
    /// Counts and notes from reading the file.
    pub input: Input,
    /// The rows and columns of the maps.
    #[serde(flatten)]
    pub names: Names,
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
}

impl Analysis {
    /// The finding that nothing can be said, if the study has collapsed.
    pub(crate) fn collapse(&self) -> Option<&Finding> {
        self.findings.first().filter(|finding| finding.topic == Topic::Collapse)
    }
}

/// Names of the rows and columns of the maps, each list sorted bytewise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The intermediates.
    pub intermediates: Vec<String>,
    /// The targets.
    pub targets: Vec<String>,
    /// The probes.
    pub probes: Vec<String>,
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
    /// Seed of the random numbers.
    pub rng_seed: u64,
    /// Interval and test of a difference.
    pub method: Method,
    /// Family of correlation tests that the text uses.
    pub family: Family,
    /// The mode that the text and the figures show.
    pub mode: Mode,
    /// Name of the row that starts from the pretrained encoder.
    pub baseline: String,
}

/// Counts and notes from reading the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Primary lines, repeated lines counted once.
    pub rows: usize,
    /// Runs with a score.
    pub used: usize,
    /// Primary lines without a score.
    pub failed: usize,
    /// Remarks about the file, as sentences.
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
    /// How well a sum of an intermediate's effect and a target's effect explains the gains.
    pub additivity: Option<Additivity>,
    /// How well restarts of one start point agree, for each target, then each probe.
    pub reliability: Vec<Reliability>,
    /// Sizes against gains, and forgetting against transfer.
    pub relations: Vec<Relation>,
    /// Restarts needed to show a difference, for each target.
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
