//! Findings: what the numbers carry, in plain words, each with the figure or table it stands on.

mod correlated;
mod degenerate;
mod structure;
mod transfer;

use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::options::Mode;
use crate::report::format::{confidence, plain, signed};

/// One sentence or two about a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// What can be said.
    pub text: String,
    /// The part of the report whose numbers it reads.
    pub figure: Figure,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// How much the data can show at all.
    Certainty,
    /// Which start point helps.
    Transfer,
    /// What degenerate runs do to the numbers.
    Degenerate,
    /// What goes together, and what that rests on.
    Correlation,
    /// When and why: sizes, forgetting, additivity, restarts.
    Structure,
}

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// The transfer matrix.
    TransferMatrix,
    /// The table of average gains.
    Averages,
    /// The table of best starts.
    BestStart,
    /// The table of degenerate runs.
    DegenerateRuns,
    /// The correlations.
    Correlations,
    /// The relations of sizes and of forgetting to gains.
    Relations,
    /// The additive fit.
    Additivity,
    /// The reliability of tasks over restarts.
    Reliability,
    /// The table of restarts that a difference needs.
    Power,
}

impl Figure {
    /// Its heading in the report.
    pub fn title(self) -> &'static str {
        match self {
            Self::TransferMatrix => "Transfer matrix",
            Self::Averages => "Average gains",
            Self::BestStart => "Best start",
            Self::DegenerateRuns => "Degenerate runs",
            Self::Correlations => "Correlations",
            Self::Relations => "Sizes and forgetting",
            Self::Additivity => "Additivity",
            Self::Reliability => "Reliability",
            Self::Power => "Restarts needed",
        }
    }
}

/// What every finding is read from: an analysis in the mode that its options choose.
struct Context<'a> {
    analysis: &'a Analysis,
    mode: Mode,
    alpha: f64,
}

impl Context<'_> {
    /// True for a p-value that is defined and below the level.
    fn significant(&self, p: Option<f64>) -> bool {
        p.is_some_and(|p| p < self.alpha)
    }

    /// `+3.2 (95 % interval +1.1 to +5.3)`.
    fn with_interval(&self, value: f64, lo: Option<f64>, hi: Option<f64>) -> String {
        match lo.zip(hi) {
            None => format!("{} (no interval)", signed(value, 1)),
            Some((lo, hi)) => format!(
                "{} ({} interval {} to {})",
                signed(value, 1),
                confidence(self.alpha),
                signed(lo, 1),
                signed(hi, 1)
            ),
        }
    }
}

/// Everything that can be said about an analysis, the most important first.
pub fn findings(analysis: &Analysis) -> Vec<Finding> {
    let context = Context { analysis, mode: analysis.options.mode, alpha: analysis.options.alpha };
    let mut found = transfer::findings(&context);
    found.extend(degenerate::findings(&context));
    found.extend(correlated::findings(&context));
    found.extend(structure::findings(&context));
    found
}

/// A correlation or share with two decimals.
fn two(value: f64) -> String {
    plain(value, 2)
}
