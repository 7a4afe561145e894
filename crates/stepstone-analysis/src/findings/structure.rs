//! When and why: additivity, sizes, forgetting, reliability, and the restarts that a difference needs.

use super::context::{Context, two};
use crate::finding::{Figure, Finding, Topic};
use crate::format::{count, list, p_value, plain};
use crate::relation::Relation;
use crate::structure::{FORGETTING, SIZE_OF_INTERMEDIATE, SIZE_OF_TARGET};

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let results = context.analysis.modes.of(context.mode);
    let relations = results.relations.iter().filter_map(|relation| sentence(context, relation));
    let mut found: Vec<Finding> = relations.collect();
    found.extend(additivity(context));
    found.extend(reliability(context));
    found.extend(power(context));
    found
}

fn finding(figure: Figure, text: String) -> Finding {
    Finding { topic: Topic::Structure, text, figure }
}

fn sentence(context: &Context<'_>, relation: &Relation) -> Option<Finding> {
    let (rho, p) = (relation.rho?, relation.p?);
    let what = match relation.name.as_str() {
        SIZE_OF_INTERMEDIATE => "training examples of the intermediate and its average gain",
        SIZE_OF_TARGET => "training examples of the target and its mean gain",
        FORGETTING => "average probe delta and average target delta (probes down with targets: forgetting)",
        other => other,
    };
    let interval = relation.lo.zip(relation.hi);
    let interval = interval.map_or_else(String::new, |(lo, hi)| format!(", interval {} to {}", two(lo), two(hi)));
    // Never "unrelated": over 11 points a true correlation of 0.5 is found in only one study of three.
    let verdict = if context.significant(Some(p)) { "related" } else { "not shown to be related" };
    let text = format!("{what}: {verdict} (rho {}, p {}{interval}, n = {}).", two(rho), p_value(p), relation.n);
    let mut letters = text.chars();
    let text =
        letters.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str());
    Some(finding(Figure::Relations, text))
}

fn additivity(context: &Context<'_>) -> Option<Finding> {
    let fit = context.analysis.modes.of(context.mode).additivity.as_ref()?;
    let noise = fit.noise.share.map_or_else(String::new, |share| {
        format!(" Seed noise accounts for {} % of the rest.", plain(100.0 * share, 0))
    });
    let tukey =
        fit.tukey.p.map_or_else(String::new, |p| format!(" Tukey's test against additivity: p {}.", p_value(p)));
    let text = format!(
        "The sum of an intermediate's effect and a target's effect explains {} % of the variance of the target \
         deltas.{noise}{tukey} The nearer both shares are to 100 %, the more \"best for my target\" means \"best overall\".",
        plain(100.0 * fit.r2, 0)
    );
    Some(finding(Figure::Additivity, text))
}

/// Below this, a column says more about the seed than about the start point.
// At one half, as much of the variance of the means is noise as is signal.
const RELIABLE: f64 = 0.5;

fn reliability(context: &Context<'_>) -> Option<Finding> {
    let rows = &context.analysis.modes.of(context.mode).reliability;
    let poor: Vec<&str> =
        rows.iter().filter(|row| row.icck.is_some_and(|icck| icck < RELIABLE)).map(|row| row.task.as_str()).collect();
    if poor.is_empty() {
        return None;
    }
    let text = format!(
        "Restarts of one start point hardly agree on {} (intraclass correlation of the means below {RELIABLE}): {} \
         too noisy for correlations.",
        list(&poor),
        if poor.len() == 1 { "this column is" } else { "these columns are" }
    );
    Some(finding(Figure::Reliability, text))
}

fn power(context: &Context<'_>) -> Option<Finding> {
    let rows = &context.analysis.modes.of(context.mode).power;
    let mut needed: Vec<u64> = rows.iter().filter_map(|row| *row.seeds.get("1.0")?).collect();
    needed.sort_unstable();
    let (first, last) = (needed.first()?, needed.last()?);
    let text = format!(
        "Showing a difference of 1 point in one cell (power 0.8, level 0.05) takes {} restarts in each arm, depending on \
         the target ({}, median {}).",
        if first == last { first.to_string() } else { format!("{first} to {last}") },
        count(needed.len(), "target"),
        needed[needed.len() / 2]
    );
    Some(finding(Figure::Power, text))
}
