//! The families of tests: which correlations are corrected together.

use serde::{Deserialize, Serialize};

use super::pair::{Kind, Pair};
use crate::multiple::{benjamini_hochberg, holm, over_defined};

/// Number of tests in each family; undefined correlations are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilySizes {
    /// Every entry of the targets x tasks table of the ACL 2020 study, on all rows.
    pub acl2020: usize,
    /// Every pair once, on all rows.
    pub distinct: usize,
    /// Every pair once, on the means of the intermediates.
    pub means: usize,
}

/// Adjusts the p-values of all pairs in place. `self_tested` is the number of targets whose correlation with themselves
/// has a p-value.
pub(super) fn adjust(pairs: &mut [Pair], self_tested: usize) -> FamilySizes {
    let rows: Vec<Option<f64>> = pairs.iter().map(|pair| pair.rows.p).collect();
    let means: Vec<Option<f64>> = pairs.iter().map(|pair| pair.means.p).collect();
    // The repetitions make the family larger and Holm stricter, which is what that study reported.
    let entries = acl2020(pairs, self_tested);
    // The two entries of a target pair have equal p-values, hence equal adjusted ones: the first stands for both.
    let holm_acl2020 = over_defined(&entries, holm);
    let (holm_distinct, bh_distinct) = (over_defined(&rows, holm), over_defined(&rows, benjamini_hochberg));
    let (holm_means, bh_means) = (over_defined(&means, holm), over_defined(&means, benjamini_hochberg));
    for (i, pair) in pairs.iter_mut().enumerate() {
        (pair.adjusted.holm_distinct, pair.adjusted.bh_distinct) = (holm_distinct[i], bh_distinct[i]);
        (pair.adjusted.holm_means, pair.adjusted.bh_means) = (holm_means[i], bh_means[i]);
        pair.adjusted.holm_acl2020 = holm_acl2020[i];
    }
    let size = |p: &[Option<f64>]| p.iter().flatten().count();
    FamilySizes { acl2020: size(&entries), distinct: size(&rows), means: size(&means) }
}

/// The p-values of the ACL 2020 family: all pairs, the target pairs once more, and a 0 for each target with itself.
/// Source: Pruksachatkun et al. 2020 and its published script.
fn acl2020(pairs: &[Pair], self_tested: usize) -> Vec<Option<f64>> {
    let again = pairs.iter().filter(|pair| pair.kind == Kind::TargetTarget);
    let with_themselves = std::iter::repeat_n(Some(0.0), self_tested);
    pairs.iter().chain(again).map(|pair| pair.rows.p).chain(with_themselves).collect()
}
