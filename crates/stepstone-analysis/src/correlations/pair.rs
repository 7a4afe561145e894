//! The correlations of two tasks: one row of correlations.csv.

use serde::{Deserialize, Serialize};

use super::cluster_permutation::PermutedOn;
use crate::coefficient::Undefined;

/// What the two columns of a pair are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Two targets.
    TargetTarget,
    /// A target and a probe.
    TargetProbe,
}

/// The correlations of two tasks over the rows that have both scores. `None` is undefined; p-values are two-sided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// A target.
    pub x: String,
    /// Another target, or a probe.
    pub y: String,
    /// What x and y are.
    pub kind: Kind,
    /// Rows with both scores.
    pub n: usize,
    /// Spearman's rho over rows.
    pub rho: Option<f64>,
    /// Its p as if rows were independent, t on n - 2 degrees of freedom.
    pub p: Option<f64>,
    /// Why rho is undefined.
    pub reason: Option<Undefined>,
    /// Pearson's r over rows.
    pub pearson: Option<f64>,
    /// Its p as if rows were independent.
    pub p_pearson: Option<f64>,
    /// Kendall's tau-b over rows.
    pub tau_b: Option<f64>,
    /// Its asymptotic p as if rows were independent.
    pub p_tau: Option<f64>,
    /// Intermediates with both scores.
    pub k: usize,
    /// Spearman's rho of the intermediates' means.
    pub rho_means: Option<f64>,
    /// Its p, t on k - 2 degrees of freedom.
    pub p_means: Option<f64>,
    /// Lower end of its 1 - alpha interval.
    pub lo_means: Option<f64>,
    /// Upper end of its 1 - alpha interval.
    pub hi_means: Option<f64>,
    /// Pearson's r of deviations from the intermediate's mean.
    pub r_within: Option<f64>,
    /// Its p on n - k - 1 degrees of freedom.
    pub p_within: Option<f64>,
    /// Share of the covariance that lies between intermediates; outside [0, 1] where between and within oppose.
    pub between_share: Option<f64>,
    /// p of the cluster permutation test.
    pub p_perm: Option<f64>,
    /// What it permutes.
    pub perm_on: Option<PermutedOn>,
    /// p against the largest correlation of all target-probe pairs under permutation; only for such pairs.
    pub p_maxt: Option<f64>,
    /// Lower end of the cluster bootstrap's 1 - alpha interval of rho; `keep` only.
    pub boot_lo: Option<f64>,
    /// Upper end of the cluster bootstrap's 1 - alpha interval of rho; `keep` only.
    pub boot_hi: Option<f64>,
    /// Correlation of the means' ranks with the general factor held fixed.
    pub rho_partial: Option<f64>,
    /// Its p on k - 3 degrees of freedom.
    pub p_partial: Option<f64>,
    /// Smallest correlation of means without one intermediate.
    pub loo_min: Option<f64>,
    /// Largest correlation of means without one intermediate.
    pub loo_max: Option<f64>,
    /// The intermediate whose removal moves the correlation of means most.
    pub loo_name: Option<String>,
    /// True if the removal of some intermediate changes the sign, or takes `p_means` across alpha.
    pub loo_decisive: bool,
    /// `p` adjusted by Holm in the family `distinct`.
    pub holm_distinct: Option<f64>,
    /// `p` adjusted by Benjamini and Hochberg in the family `distinct`.
    pub bh_distinct: Option<f64>,
    /// `p_means` adjusted by Holm in the family `means`.
    pub holm_means: Option<f64>,
    /// `p_means` adjusted by Benjamini and Hochberg in the family `means`.
    pub bh_means: Option<f64>,
    /// `p` adjusted by Holm in the family `acl2020`.
    pub holm_acl2020: Option<f64>,
}
