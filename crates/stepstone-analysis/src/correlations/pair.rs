//! The correlations of two tasks: one row of correlations.csv.

use serde::{Deserialize, Serialize};

use super::cluster_permutation::PermutedOn;
use crate::coefficient::Undefined;

/// Roles of the two columns of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Two targets.
    TargetTarget,
    /// A target and a probe.
    TargetProbe,
}

/// The correlations of two tasks over the rows that have both scores. `None` is undefined; p-values are two-sided. In
/// JSON and CSV all parts are one flat object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// A target.
    pub x: String,
    /// Another target, or a probe.
    pub y: String,
    /// Roles of x and y.
    pub kind: Kind,
    // The groups are for readers of the code; flattened, a table has one column for each number.
    /// Over rows, as if they were independent.
    #[serde(flatten)]
    pub rows: OverRows,
    /// Over the means of the intermediates.
    #[serde(flatten)]
    pub means: OverMeans,
    /// Among the restarts of one intermediate.
    #[serde(flatten)]
    pub within: Within,
    /// The cluster permutation test.
    #[serde(flatten)]
    pub permutation: Permutation,
    /// The cluster bootstrap's interval of rho over rows; `keep` only.
    #[serde(flatten)]
    pub bootstrap: Bootstrap,
    /// With the general factor held fixed.
    #[serde(flatten)]
    pub partial: Partial,
    /// Without one intermediate at a time.
    #[serde(flatten)]
    pub left_out: LeftOut,
    /// p-values adjusted in each family.
    #[serde(flatten)]
    pub adjusted: Adjusted,
}

/// Coefficients over rows; their p-values treat restarts as independent, which they are not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OverRows {
    /// Rows with both scores.
    pub n: usize,
    /// Spearman's rho.
    pub rho: Option<f64>,
    /// Its p, t on n - 2 degrees of freedom.
    pub p: Option<f64>,
    /// Why rho is undefined.
    pub reason: Option<Undefined>,
    /// Pearson's r.
    pub pearson: Option<f64>,
    /// Its p.
    pub p_pearson: Option<f64>,
    /// Kendall's tau-b.
    pub tau_b: Option<f64>,
    /// Its asymptotic p.
    pub p_tau: Option<f64>,
}

/// Spearman's rho of the intermediates' means: the headline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OverMeans {
    /// Intermediates with both scores.
    pub k: usize,
    /// Rho of the means.
    #[serde(rename = "rho_means")]
    pub rho: Option<f64>,
    /// Its p, t on k - 2 degrees of freedom.
    #[serde(rename = "p_means")]
    pub p: Option<f64>,
    /// Lower end of its 1 - alpha interval.
    #[serde(rename = "lo_means")]
    pub lo: Option<f64>,
    /// Upper end of its 1 - alpha interval.
    #[serde(rename = "hi_means")]
    pub hi: Option<f64>,
}

/// How two tasks move together among the restarts of one intermediate.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Within {
    /// Pearson's r of the deviations from each intermediate's mean.
    #[serde(rename = "r_within")]
    pub r: Option<f64>,
    /// Its p on n - k - 1 degrees of freedom.
    #[serde(rename = "p_within")]
    pub p: Option<f64>,
    /// Share of the covariance of the scores that lies between intermediates; below 0 or above 1 where the two parts
    /// have opposite signs. `None` if the covariance is only rounding.
    pub between_share: Option<f64>,
}

/// The cluster permutation test.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Permutation {
    /// Its p.
    #[serde(rename = "p_perm")]
    pub p: Option<f64>,
    /// Rows or means are permuted.
    #[serde(rename = "perm_on")]
    pub on: Option<PermutedOn>,
    /// p against the largest correlation of all target-probe pairs under permutation; only for such pairs.
    pub p_maxt: Option<f64>,
}

/// Ends of the cluster bootstrap's 1 - alpha interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Lower end.
    #[serde(rename = "boot_lo")]
    pub lo: Option<f64>,
    /// Upper end.
    #[serde(rename = "boot_hi")]
    pub hi: Option<f64>,
}

/// Correlation of the means' ranks with the general factor held fixed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// The partial correlation.
    #[serde(rename = "rho_partial")]
    pub rho: Option<f64>,
    /// Its p on k - 3 degrees of freedom.
    #[serde(rename = "p_partial")]
    pub p: Option<f64>,
}

/// The correlation of means without one intermediate at a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Smallest correlation.
    #[serde(rename = "loo_min")]
    pub min: Option<f64>,
    /// Largest correlation.
    #[serde(rename = "loo_max")]
    pub max: Option<f64>,
    /// The intermediate whose removal moves the correlation most.
    #[serde(rename = "loo_name")]
    pub name: Option<String>,
    /// True if the removal of some intermediate changes the sign, or takes the p of the means across alpha.
    #[serde(rename = "loo_decisive")]
    pub decisive: bool,
}

/// p-values adjusted by Holm, or by Benjamini and Hochberg, in the families of tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// p over rows, by Holm.
    pub holm_distinct: Option<f64>,
    /// p over rows, by Benjamini and Hochberg.
    pub bh_distinct: Option<f64>,
    /// p over means, by Holm.
    pub holm_means: Option<f64>,
    /// p over means, by Benjamini and Hochberg.
    pub bh_means: Option<f64>,
    /// p over rows, by Holm with the repetitions of the ACL 2020 study.
    pub holm_acl2020: Option<f64>,
}
