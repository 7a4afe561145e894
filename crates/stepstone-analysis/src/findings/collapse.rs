//! A study whose runs learnt nothing: then the differences compare constant answers, and only this is worth saying.

use super::context::Context;
use crate::finding::{Figure, Finding, Topic};
use crate::format::{count, list};
use crate::observation::Role;

/// Runs that learnt nothing, among how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Share {
    degenerate: usize,
    of: usize,
}

impl Share {
    fn is_most(self) -> bool {
        2 * self.degenerate > self.of
    }
}

/// The finding for a study in which most target runs, and most of the baseline's among them, are degenerate.
///
/// Both shares must be above one half. Where only the baseline collapses, "starting from this task makes training work"
/// is a result; where only the intermediates do, "starting from it breaks training" is one. Where both do, a delta says
/// which constant answer is the better guess. Only targets count, since intermediates that learnt their own task would
/// hide the collapse.
pub(super) fn collapse(context: &Context<'_>) -> Option<Finding> {
    let targets = context.analysis.tasks.iter().filter(|task| task.role == Role::Target);
    let (mut baseline, mut all) = (Share { degenerate: 0, of: 0 }, Share { degenerate: 0, of: 0 });
    for task in targets {
        baseline.of += task.keep.n;
        baseline.degenerate += task.keep.n - task.drop.n;
    }
    for cell in context.analysis.cells.iter().filter(|cell| cell.role == Role::Target) {
        all.of += cell.keep.arms.n;
        all.degenerate += cell.n_degenerate;
    }
    let all = Share { degenerate: all.degenerate + baseline.degenerate, of: all.of + baseline.of };
    let collapsed = all.is_most() && (baseline.of == 0 || baseline.is_most());
    collapsed.then(|| Finding {
        topic: Topic::Collapse,
        text: sentence(context, baseline),
        figure: Figure::DegenerateRuns,
    })
}

fn sentence(context: &Context<'_>, baseline: Share) -> String {
    let degenerate = &context.analysis.degenerate;
    let name = &context.analysis.options.baseline;
    let (of_baseline, which) = if baseline.of == 0 {
        (String::new(), "target runs".to_owned())
    } else {
        let of_baseline = format!(", among them {} of the {}", baseline.degenerate, count(baseline.of, "target run"));
        (format!("{of_baseline} from `{name}`"), format!("target runs from `{name}`"))
    };
    format!(
        "Nothing can be said about these start points: {} of {} {}{of_baseline}. Differences between such runs mean \
         nothing. {REMEDY}, until most {which} learn their task.",
        degenerate.n,
        count(degenerate.of, "run"),
        symptoms(context),
    )
}

/// What to change, by the keys of a recipe.
// Steps first: a run of few steps is still at the constant answer whatever its learning rate. A rate that is too large
// ends there as well, but only after the loss has risen.
const REMEDY: &str = "Give each run more steps (`epochs` or `max_steps`), more training examples (`max_train`) or a larger \
    `learning_rate`, or a smaller one if the loss rises";

/// How the degenerate runs show that they learnt nothing.
fn symptoms(context: &Context<'_>) -> String {
    let reasons = &context.analysis.degenerate.by_reason;
    let words = |reason: &str| match reason {
        "constant" => "predict one label for every example",
        "majority" => "score no better than the most common label",
        "loss" => "have not reduced the loss",
        _ => "are marked as degenerate in the file",
    };
    if let (1, Some(only)) = (reasons.len(), reasons.keys().next()) {
        return words(only).to_owned();
    }
    let each: Vec<String> = reasons.iter().map(|(reason, n)| format!("{n} {}", words(reason))).collect();
    format!("learnt nothing ({})", list(&each))
}
