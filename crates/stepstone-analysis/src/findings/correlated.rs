//! Correlated tasks: in which family of tests, and which intermediates the correlations depend on.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::context::{Context, two};
use crate::correlations::words::{Wording, wording};
use crate::correlations::{Correlations, Pair};
use crate::finding::{Figure, Finding, Topic};
use crate::format::{count, list};
use crate::influence::Influence;
use crate::options::Family;

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let results = context.analysis.modes.of(context.mode);
    let correlations = &results.correlations;
    if correlations.pairs.is_empty() {
        return Vec::new();
    }
    let found = [
        few_intermediates(correlations),
        headline(context, correlations),
        resting(&results.influence),
        single(context, correlations),
        within(context, correlations),
        undefined(correlations),
    ];
    found.into_iter().flatten().collect()
}

fn finding(text: String) -> Finding {
    Finding { topic: Topic::Correlation, text, figure: Figure::Correlations }
}

fn few_intermediates(correlations: &Correlations) -> Option<Finding> {
    let k = correlations.clusters;
    // A Spearman correlation of three means has no p-value.
    if k >= 4 {
        return None;
    }
    let intermediates = count(k, "intermediate");
    Some(finding(format!(
        "No correlation across intermediates can be tested with {intermediates}: at least four are needed."
    )))
}

/// The corrected p of a pair in a family.
fn holm(pair: &Pair, family: Family) -> Option<f64> {
    match family {
        Family::Means => pair.adjusted.holm_means,
        Family::Distinct => pair.adjusted.holm_distinct,
        Family::Acl2020 => pair.adjusted.holm_acl2020,
    }
}

fn headline(context: &Context<'_>, correlations: &Correlations) -> Option<Finding> {
    let count_in = |family| correlations.pairs.iter().filter(|pair| context.significant(holm(pair, family))).count();
    let sizes = correlations.family_sizes;
    let tested = sizes.means.max(sizes.distinct);
    if tested == 0 {
        return None;
    }
    let (means, distinct) = (count_in(Family::Means), count_in(Family::Distinct));
    let mut counts = format!(
        "{distinct} of {} pass Holm when all {} rows count as independent",
        count(sizes.distinct, "pair"),
        correlations.rows
    );
    if sizes.means > 0 {
        let intermediates = count(correlations.clusters, "intermediate");
        let _ = write!(counts, ", {means} of {} on the means of the {intermediates}", sizes.means);
    }
    let chosen = match context.analysis.options.family {
        Family::Means if sizes.means == 0 => {
            "Do not trust that number: restarts of one intermediate are not independent.".to_owned()
        }
        Family::Means => "Trust the second number: restarts of one intermediate are not independent.".to_owned(),
        Family::Distinct => "You chose the first number (family distinct), which counts every intermediate's effect \
                             once per restart; the column `in words` goes by the means."
            .to_owned(),
        Family::Acl2020 => format!(
            "You chose the family acl2020 ({} entries, target pairs twice and targets with themselves): {} pairs; the \
             column `in words` goes by the means.",
            sizes.acl2020,
            count_in(Family::Acl2020)
        ),
    };
    let permuted = correlations.pairs.iter().filter(|pair| context.significant(pair.permutation.p)).count();
    let permuted = count(permuted, "pair");
    Some(finding(format!(
        "Correlations: {counts}. {chosen} The cluster permutation test, not corrected, has p < {} for {permuted}.",
        context.alpha
    )))
}

/// The same counts without the most damaged intermediates.
fn resting(steps: &[Influence]) -> Option<Finding> {
    let (first, last) = (steps.first()?, steps.last()?);
    let before = first.distinct.max(first.means);
    if steps.len() < 2 || before == 0 {
        return None;
    }
    let series =
        |get: fn(&Influence) -> usize| steps.iter().map(|step| get(step).to_string()).collect::<Vec<_>>().join(", ");
    // "Rest on them" if more than half of the pairs go with them.
    let verdict = if 2 * last.distinct.max(last.means) < before {
        "The correlations rest on these few damaged intermediates: a damaged model is bad at many things at \
         once."
    } else {
        "Most of the correlations do not rest on them."
    };
    Some(finding(format!(
        "Leaving out the intermediates with the lowest average gain one after the other ({}) leaves {} significant pairs \
         over rows and {} over means (the first number of each is with all intermediates). {verdict}",
        list(&last.left_out),
        series(|step| step.distinct),
        series(|step| step.means),
    )))
}

/// Pairs that a single intermediate decides.
fn single(context: &Context<'_>, correlations: &Correlations) -> Option<Finding> {
    let said = |pair: &Pair| wording(&pair.adjusted, context.alpha) == Wording::Correlated;
    let shown: Vec<&Pair> = correlations.pairs.iter().filter(|pair| said(pair)).collect();
    let decided: Vec<&&Pair> = shown.iter().filter(|pair| pair.left_out.decisive).collect();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    for name in decided.iter().filter_map(|pair| pair.left_out.name.as_deref()) {
        *names.entry(name).or_insert(0) += 1;
    }
    let (name, times) = names.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(a.0)))?;
    Some(finding(format!(
        "Of the {} correlated across intermediates, {} would change sign or lose p < {} without one intermediate; \
         most often {name} ({times}).",
        count(shown.len(), "pair"),
        decided.len(),
        context.alpha
    )))
}

/// Whether restarts of one intermediate move two tasks together.
fn within(context: &Context<'_>, correlations: &Correlations) -> Option<Finding> {
    let defined: Vec<(&Pair, f64)> =
        correlations.pairs.iter().filter_map(|pair| Some((pair, pair.within.p?))).collect();
    if defined.is_empty() {
        return None;
    }
    let p: Vec<f64> = defined.iter().map(|(_, p)| *p).collect();
    // A family of its own: nobody chose these pairs by their other correlations.
    let below = crate::multiple::holm(&p).into_iter().filter(|p| *p < context.alpha).count();
    let mut shares: Vec<f64> = correlations.pairs.iter().filter_map(|pair| pair.within.between_share).collect();
    shares.sort_unstable_by(f64::total_cmp);
    let share = shares.get(shares.len() / 2).map_or_else(String::new, |share| {
        format!(" For the median pair, {} of the covariance lies between intermediates.", two(*share))
    });
    Some(finding(format!(
        "Among restarts of the same intermediate {below} of {} are correlated (Holm).{share}",
        count(defined.len(), "pair")
    )))
}

fn undefined(correlations: &Correlations) -> Option<Finding> {
    let undefined = correlations.pairs.iter().filter(|pair| pair.rows.rho.is_none()).count();
    if undefined == 0 {
        return None;
    }
    Some(finding(format!(
        "{} of {} have no defined correlation (a constant column, or fewer than three common rows); they are outside \
         every family.",
        undefined,
        count(correlations.pairs.len(), "pair")
    )))
}
