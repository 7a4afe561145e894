//! A finding: a sentence about a study and the part of the report whose numbers it reads.

use serde::{Deserialize, Serialize};

/// One sentence or two about a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its subject.
    pub topic: Topic,
    /// The statement.
    pub text: String,
    /// The part of the report whose numbers it reads.
    pub figure: Figure,
}

/// The subject of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// A study whose runs learnt nothing; always the first finding.
    Collapse,
    /// How much the data can show at all.
    Certainty,
    /// Which start point helps.
    Transfer,
    /// What degenerate runs do to the numbers.
    Degenerate,
    /// Correlations, and what they rest on.
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
