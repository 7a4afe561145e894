//! Dependence of the correlations on damaged intermediates: how many stay significant when the most damaged
//! intermediates are left out, one after the other.

use serde::{Deserialize, Serialize};

use crate::averages::Averages;
use crate::correlations::significant_without;
use crate::options::Options;
use crate::table::ScoreTable;

/// Significant correlations without some intermediates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Influence {
    /// The intermediates that are left out: those with the lowest average gain, the lowest first.
    pub left_out: Vec<String>,
    /// Rows of the score table that remain.
    pub rows: usize,
    /// Pairs with Holm's p below alpha in the family `distinct`.
    pub distinct: usize,
    /// Pairs with Holm's p below alpha in the family `means`.
    pub means: usize,
}

/// How many of the most damaged intermediates are left out at most.
// Each step costs all correlations once more, and in the ACL 2020 study three intermediates were damaged.
const MOST: usize = 3;

/// Counts with all intermediates, then without the worst one, two and three, as long as four remain.
pub(crate) fn influence(table: &ScoreTable, averages: &Averages, options: &Options) -> Vec<Influence> {
    let mut damaged: Vec<(f64, &str)> =
        averages.rows.iter().filter_map(|row| Some((row.mean?, row.intermediate.as_str()))).collect();
    // Equal averages go by name, so that the report does not depend on the order of the file.
    damaged.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    // Four intermediates are the fewest with a p-value.
    let most = MOST.min(table.intermediates.len().saturating_sub(4)).min(damaged.len());
    let names: Vec<&str> = damaged.into_iter().map(|(_, name)| name).collect();
    let count = |left_out: &[&str]| {
        let found = significant_without(table, left_out, options);
        let left_out = left_out.iter().map(|name| (*name).to_owned()).collect();
        Influence { left_out, rows: found.rows, distinct: found.distinct, means: found.means }
    };
    (0..=most).map(|n| count(&names[..n])).collect()
}
