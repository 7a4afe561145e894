//! How far two studies of one grid agree, as terminal text.

use super::summary::item;
use crate::agreement::{Agreement, DeltaAgreement, TaskAgreement};
use crate::format::{count, plain};

/// A heading and one paragraph for each thing that was compared, fitted to `width` columns.
pub fn agreement(agreement: &Agreement, width: usize) -> String {
    let mut text = String::from("Agreement of two studies\n");
    for (noun, deltas) in [("target", &agreement.target), ("probe", &agreement.probe)] {
        if deltas.n > 0 {
            text.push_str(&item(&of_deltas(noun, deltas), width));
        }
    }
    if let Some(tau_b) = agreement.averages.tau_b {
        let line = format!(
            "Average gains of {}: Kendall's tau-b of their ranks {}.",
            count(agreement.averages.n, "intermediate"),
            plain(tau_b, 2)
        );
        text.push_str(&item(&line, width));
    }
    for task in &agreement.tasks {
        if let Some(line) = of_task(task) {
            text.push_str(&item(&line, width));
        }
    }
    if agreement.target.n + agreement.probe.n == 0 {
        text.push_str("The two studies have no cell in common.\n");
    }
    text
}

fn of_deltas(noun: &str, deltas: &DeltaAgreement) -> String {
    let number = |words: &str, value: Option<f64>| value.map(|value| format!("{words} {}", plain(value, 2)));
    let parts = [
        number("Spearman's rho of the deltas", deltas.rho),
        number("Pearson's r", deltas.pearson),
        number("Lin's concordance", deltas.concordance),
        deltas.same_sign.map(|share| format!("{} % have the same sign", plain(100.0 * share, 0))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{} in both: {}.", count(deltas.n, &format!("{noun} cell")), parts.join(", "))
}

fn of_task(task: &TaskAgreement) -> Option<String> {
    let top = task.top.as_ref()?;
    Some(format!(
        "{}: {} of the best {} intermediates are the same; {} are expected by chance.",
        task.task,
        top.shared,
        top.k,
        plain(top.expected, 1)
    ))
}
