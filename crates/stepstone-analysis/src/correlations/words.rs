//! Wording for a correlation. It never says that one task's skill drives another: both columns are outcomes of the
//! same checkpoints.

use super::pair::Pair;

/// The strongest statement that a pair's numbers support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wording {
    /// "Correlated across intermediates": Holm over the means is below alpha.
    Correlated,
    /// "Suggestive": only Benjamini and Hochberg's is.
    Suggestive,
    /// The number alone.
    NumberOnly,
}

impl Wording {
    /// The words; `None` where only the number is said.
    pub(crate) fn words(self) -> Option<&'static str> {
        match self {
            Self::Correlated => Some("correlated across intermediates"),
            Self::Suggestive => Some("suggestive"),
            Self::NumberOnly => None,
        }
    }
}

/// Goes by the headline family, the means of the intermediates; significant is strictly below `alpha`.
pub(crate) fn wording(pair: &Pair, alpha: f64) -> Wording {
    let below = |p: Option<f64>| p.is_some_and(|p| p < alpha);
    if below(pair.adjusted.holm_means) {
        Wording::Correlated
    } else if below(pair.adjusted.bh_means) {
        Wording::Suggestive
    } else {
        Wording::NumberOnly
    }
}
