//! Which start point helps, how certain that is, and how choosing the best one inflates its gain.

use super::context::{Context, two};
use crate::averages::Average;
use crate::best::{Best, Candidate};
use crate::cells::Difference;
use crate::finding::{Figure, Finding, Topic};
use crate::format::{count, list, p_value, signed};
use crate::options::Method;

pub(super) fn findings(context: &Context<'_>) -> Vec<Finding> {
    let found = [
        no_baseline(context),
        shown_starts(context),
        open_targets(context),
        winners_curse(context),
        best_average(context),
        harmful(context),
        few_restarts(context),
        incomplete(context),
    ];
    found.into_iter().flatten().collect()
}

/// Missing runs, which are reported even for a study that has collapsed.
pub(super) fn gaps(context: &Context<'_>) -> Vec<Finding> {
    no_baseline(context).into_iter().chain(incomplete(context)).collect()
}

fn finding(topic: Topic, figure: Figure, text: String) -> Finding {
    Finding { topic, text, figure }
}

fn no_baseline(context: &Context<'_>) -> Option<Finding> {
    let analysis = context.analysis;
    let without: Vec<&str> =
        analysis.tasks.iter().filter(|task| task.keep.n == 0).map(|task| task.task.as_str()).collect();
    if without.is_empty() {
        return None;
    }
    let baseline = &analysis.options.baseline;
    let which = if without.len() == analysis.tasks.len() { "any task".to_owned() } else { list(&without) };
    let text = format!(
        "No run starts from the pretrained encoder (row `{baseline}`) on {which}: scores are shown there without \
         differences."
    );
    Some(finding(Topic::Certainty, Figure::TransferMatrix, text))
}

/// The best intermediate of a target, if the baseline is not a contender.
fn shown<'a>(context: &Context<'_>, best: &'a Best) -> Option<&'a Candidate> {
    let baseline = best.candidate(&context.analysis.options.baseline)?;
    best.candidate(best.top.as_deref()?).filter(|top| !baseline.contender && top.delta > 0.0)
}

fn shown_starts(context: &Context<'_>) -> Option<Finding> {
    let best = &context.analysis.modes.of(context.mode).best;
    let shown: Vec<(&Best, &Candidate)> = best.iter().filter_map(|best| Some((best, shown(context, best)?))).collect();
    if shown.is_empty() {
        return None;
    }
    let words = |(best, top): &(&Best, &Candidate)| {
        let shrunk =
            top.delta_shrunk.map_or_else(String::new, |shrunk| format!(", {} after shrinking", signed(shrunk, 1)));
        format!("{}: {} {}{shrunk}, P(best) {}", best.task, top.intermediate, signed(top.delta, 1), two(top.p_best))
    };
    let each: Vec<String> = shown.iter().map(words).collect();
    let text = format!(
        "On {} of {} some start point is shown to help (Holm within the target). Best there: {}. P(best) assumes \
         equal prior chances.",
        shown.len(),
        count(best.len(), "target"),
        each.join("; ")
    );
    Some(finding(Topic::Transfer, Figure::BestStart, text))
}

fn open_targets(context: &Context<'_>) -> Option<Finding> {
    let judged = context.analysis.modes.of(context.mode).best.iter().filter(|best| best.candidates.len() > 1);
    let open: Vec<&str> = judged.filter(|best| shown(context, best).is_none()).map(|best| best.task.as_str()).collect();
    if open.is_empty() {
        return None;
    }
    let text = format!(
        "No start point is shown to help on {}: `{}` is itself a contender for the best start there.",
        list(&open),
        context.analysis.options.baseline
    );
    Some(finding(Topic::Transfer, Figure::BestStart, text))
}

/// How much of the winners' gain is the luck of having been chosen.
fn winners_curse(context: &Context<'_>) -> Option<Finding> {
    let best = &context.analysis.modes.of(context.mode).best;
    let gains = |best: &Best| {
        // The baseline cannot be a lucky winner: its gain is 0 by definition.
        let rest = best.candidates.iter().filter(|c| c.intermediate != context.analysis.options.baseline);
        rest.max_by(|a, b| a.delta.total_cmp(&b.delta)).and_then(|top| Some((top.delta, top.delta_shrunk?)))
    };
    let pairs: Vec<(f64, f64)> = best.iter().filter_map(gains).collect();
    let n = pairs.len() as f64;
    let (raw, shrunk) = pairs.iter().fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0 / n, sum.1 + pair.1 / n));
    // Below half of the last digit shown, the sentence would print the same number twice.
    if pairs.is_empty() || raw - shrunk < 0.05 {
        return None;
    }
    let text = format!(
        "The winner's curse: the best intermediate of a target gains {} as measured, {} after shrinking (means over {}). \
         Expect the second number in a repetition.",
        signed(raw, 1),
        signed(shrunk, 1),
        count(pairs.len(), "target")
    );
    Some(finding(Topic::Transfer, Figure::BestStart, text))
}

fn best_average(context: &Context<'_>) -> Option<Finding> {
    let averages = &context.analysis.modes.of(context.mode).averages;
    let row = averages.rows.iter().filter(|row| row.mean.is_some()).max_by(|a, b| {
        let mean = |row: &Average| row.mean.unwrap_or(f64::NEG_INFINITY);
        mean(a).total_cmp(&mean(b)).then_with(|| b.intermediate.cmp(&a.intermediate))
    })?;
    let (mean, rank_lo, rank_hi) = (row.mean?, row.rank.lo?, row.rank.hi?);
    let general = row.general.lo.zip(row.general.hi).map_or_else(String::new, |(lo, hi)| {
        format!("; for targets like these {} to {}", signed(lo, 1), signed(hi, 1))
    });
    let verdict = match row.p_holm {
        _ if context.significant(row.p_holm) && mean > 0.0 => "shown to help on average",
        _ if context.significant(row.p_holm) => "shown to harm on average",
        _ => "not shown to differ from the baseline on average",
    };
    let holm = row.p_holm.map_or_else(String::new, |p| format!(", Holm {} over {}", p_value(p), averages.rows.len()));
    let text = format!(
        "Highest average over {}: {} {}{general}; {verdict}{holm}. Its rank among {} is between {rank_lo} and {rank_hi}.",
        count(averages.common_tasks.len(), "target"),
        row.intermediate,
        context.with_interval(mean, row.interval.lo, row.interval.hi),
        averages.rows.len(),
    );
    Some(finding(Topic::Transfer, Figure::Averages, text))
}

fn harmful(context: &Context<'_>) -> Option<Finding> {
    let rows = &context.analysis.modes.of(context.mode).averages.rows;
    let harms = |row: &&Average| context.significant(row.p_holm) && row.mean.is_some_and(|mean| mean < 0.0);
    let harmful: Vec<String> = rows
        .iter()
        .filter(harms)
        .map(|row| format!("{} {}", row.intermediate, signed(row.mean.unwrap_or(0.0), 1)))
        .collect();
    if harmful.is_empty() {
        return None;
    }
    let text =
        format!("Shown to harm on average (Holm over {}): {}.", count(rows.len(), "intermediate"), list(&harmful));
    Some(finding(Topic::Transfer, Figure::Averages, text))
}

/// Warns about few restarts. The shares are those of the simulated studies in docs/statistics.md.
fn few_restarts(context: &Context<'_>) -> Option<Finding> {
    let cells: Vec<&Difference> = context
        .analysis
        .cells
        .iter()
        .filter_map(|cell| cell.difference(context.mode))
        .filter(|difference| difference.delta.is_some())
        .collect();
    let (n, n_base) = (cells.iter().map(|c| c.arms.n).min()?, cells.iter().map(|c| c.arms.n_base).min()?);
    let caution = match n.min(n_base) {
        1 => {
            "the spread of a single run is taken from its task's other arms, so its interval is only as good as the \
             assumption that all spread equally"
        }
        // From five restarts on both methods cover what they claim, and no caution is due.
        2..=4 => match context.analysis.options.method {
            Method::Moderated => {
                "in simulation at three restarts the moderated 95 % interval covers 94 %, and a difference of three \
                 standard deviations of a restart is found in 77 % of single cells"
            }
            Method::Welch => {
                "in simulation at three restarts Welch's 95 % interval covers 96 %, and a difference of three standard \
                 deviations of a restart is found in 54 % of single cells"
            }
        },
        _ => return None,
    };
    // Every cell of a task shares the baseline's noise, so that restarts there help all cells at once.
    let advice = if n_base < 10 { " The cheapest gain in certainty is ten restarts of the baseline." } else { "" };
    let text =
        format!("The smallest cell has {}, the smallest baseline {n_base}: {caution}.{advice}", count(n, "restart"));
    Some(finding(Topic::Certainty, Figure::TransferMatrix, text))
}

fn incomplete(context: &Context<'_>) -> Option<Finding> {
    let cells = &context.analysis.cells;
    let missing = cells.iter().filter(|cell| cell.keep.arms.n == 0).count();
    let partial = cells.iter().filter(|cell| cell.keep.arms.n > 0 && cell.n_failed > 0).count();
    if missing + partial == 0 {
        return None;
    }
    let text = format!(
        "{} of {} have no score and {partial} lack some of their runs: averages are over the targets that every \
         intermediate has.",
        missing,
        count(cells.len(), "cell")
    );
    Some(finding(Topic::Certainty, Figure::TransferMatrix, text))
}
