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
/// which constant answer is the better guess. Targets decide, since intermediates that learnt their own task would hide
/// that nothing came of it.
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
        topic: Topic::Certainty,
        text: sentence(context, baseline),
        figure: Figure::DegenerateRuns,
    })
}

fn sentence(context: &Context<'_>, baseline: Share) -> String {
    let degenerate = &context.analysis.degenerate;
    let of_baseline = if baseline.of == 0 {
        String::new()
    } else {
        let (runs, name) = (count(baseline.of, "target run"), &context.analysis.options.baseline);
        format!(", among them {} of {runs} from `{name}`", baseline.degenerate)
    };
    format!(
        "Nothing can be said about these start points: {} of {} {}{of_baseline}, so the differences compare runs that learnt \
         nothing. Train longer, on more examples or with another learning rate, until most runs from the baseline learn \
         their target.",
        degenerate.n,
        count(degenerate.of, "run"),
        symptoms(context),
    )
}

/// How the degenerate runs show that they learnt nothing.
fn symptoms(context: &Context<'_>) -> String {
    let reasons = &context.analysis.degenerate.by_reason;
    let words = |reason: &str| match reason {
        "constant" => "answer one label for everything",
        "majority" => "score what the commonest label scores",
        "loss" => "have not reduced the loss",
        _ => "are flagged as failed by their runner",
    };
    if let (1, Some(only)) = (reasons.len(), reasons.keys().next()) {
        return words(only).to_owned();
    }
    let each: Vec<String> = reasons.iter().map(|(reason, n)| format!("{n} {}", words(reason))).collect();
    format!("failed ({})", list(&each))
}
