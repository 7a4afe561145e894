//! Wording for a correlation. It never says that one task's skill drives another: both columns are outcomes of the
//! same checkpoints.

use super::pair::Adjusted;

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

/// Goes by the means of the intermediates, whatever `Family` was chosen: restarts of one intermediate are not independent.
/// Significant is strictly below `alpha`.
pub(crate) fn wording(adjusted: &Adjusted, alpha: f64) -> Wording {
    let below = |p: Option<f64>| p.is_some_and(|p| p < alpha);
    if below(adjusted.holm_means) {
        Wording::Correlated
    } else if below(adjusted.bh_means) {
        Wording::Suggestive
    } else {
        Wording::NumberOnly
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_go_by_the_means_and_are_strict_about_alpha() {
        for (holm_means, bh_means, want) in [
            (Some(0.04), Some(0.04), Wording::Correlated),
            (Some(0.05), Some(0.04), Wording::Suggestive),
            (None, Some(0.04), Wording::Suggestive),
            (Some(0.05), Some(0.05), Wording::NumberOnly),
            (None, None, Wording::NumberOnly),
        ] {
            // The other families say everything is significant; they must not count.
            let zero = Some(0.0);
            let adjusted =
                Adjusted { holm_means, bh_means, holm_distinct: zero, bh_distinct: zero, holm_acl2020: zero };
            assert_eq!(wording(&adjusted, 0.05), want, "{holm_means:?} {bh_means:?}");
        }
        let words = [Wording::Correlated, Wording::Suggestive, Wording::NumberOnly].map(Wording::words);
        assert_eq!(words, [Some("correlated across intermediates"), Some("suggestive"), None]);
    }
}
