//! The role of a task in a study.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The role of a task; it enters the seed of a run, and may have values of its own in a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Other runs start from its encoder.
    Intermediate,
    /// A task that transfer is meant to help.
    Target,
    /// A task that shows which skills an encoder has.
    Probe,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Intermediate => "intermediate",
            Self::Target => "target",
            Self::Probe => "probe",
        })
    }
}
