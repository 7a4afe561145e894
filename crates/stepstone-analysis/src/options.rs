//! Options of an analysis.

use serde::{Deserialize, Serialize};

/// How the interval and the test of a difference are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Variances shrunk to their task's prior; degrees of freedom of the poorer arm.
    #[default]
    Moderated,
    /// Welch 1947: each arm's own variance, Satterthwaite degrees of freedom.
    Welch,
}

/// The family of correlation tests whose count the findings stress. The column `in words` always goes by the means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Distinct pairs, tested on the means of the intermediate tasks.
    #[default]
    Means,
    /// Distinct pairs, tested on all restarts as if they were independent.
    Distinct,
    /// Every ordered entry of the targets x tasks table, as the ACL 2020 study tested it.
    Acl2020,
}

/// Treatment of degenerate runs in the figures and the text; both are always computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They count: a start point that breaks runs is worse.
    #[default]
    Keep,
    /// They are left out: what holds when training works.
    Drop,
}

impl Method {
    /// Its name on the command line and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Moderated => "moderated",
            Self::Welch => "welch",
        }
    }
}

impl Family {
    /// Its name on the command line and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Means => "means",
            Self::Distinct => "distinct",
            Self::Acl2020 => "acl2020",
        }
    }
}

impl Mode {
    /// Its name on the command line and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        }
    }
}

/// A probability strictly between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Alpha(f64);

impl Alpha {
    /// `None` unless 0 < `value` < 1.
    pub fn new(value: f64) -> Option<Self> {
        // NaN fails both comparisons. 0 would ask for an infinite interval, 1 for an empty one.
        (value > 0.0 && value < 1.0).then_some(Self(value))
    }

    /// The probability.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// Choices of an analysis; [`Options::default`] gives the headline numbers of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Interval and test of a difference.
    pub method: Method,
    /// Family of correlation tests whose count the findings stress.
    pub family: Family,
    /// Level of tests; intervals cover 1 - alpha.
    pub alpha: Alpha,
    /// Which of the two treatments of degenerate runs figures and text show.
    pub mode: Mode,
    /// Name of the row that starts from the pretrained encoder.
    pub baseline: String,
    /// Permutations of the cluster permutation test.
    pub permutations: u32,
    /// Resamples of the cluster bootstrap.
    pub bootstraps: u32,
    /// Seed of the random numbers.
    pub rng_seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::default(),
            family: Family::default(),
            alpha: Alpha(0.05),
            mode: Mode::default(),
            baseline: "none".to_owned(),
            // With the observed order these are 10,000, so that p moves in steps of 0.0001.
            permutations: 9_999,
            // 50 resamples lie beyond each end of a 95 % interval.
            bootstraps: 2_000,
            // The first day of ACL 2020. Any number would do, but another one would move every resampled p-value.
            rng_seed: 20_200_705,
        }
    }
}
