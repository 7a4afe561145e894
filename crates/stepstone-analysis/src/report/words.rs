//! The sentences about a cell and about a whole map, the same in every form of the report.

use super::matrix::{Mark, Matrix, Tile};
use crate::analysis::Analysis;
use crate::cells::{CellStatus, Difference};
use crate::format::{confidence, count, p_value, plain, signed};
use crate::observation::Role;
use crate::options::{Method, Mode};

/// One line about a cell: difference, interval, method, restarts, corrected p and degenerate runs.
pub(crate) fn cell(tile: &Tile<'_>, matrix: &Matrix<'_>) -> String {
    let cell = tile.cell;
    let mut parts = match tile.difference {
        Some(difference) if difference.delta.is_some() => delta(difference, tile.mark, matrix),
        difference => vec![without_delta(cell.status, difference, matrix)],
    };
    let degenerate = cell.n_degenerate + cell.n_degenerate_base;
    if degenerate > 0 {
        let other = if matrix.mode == Mode::Keep { Mode::Drop } else { Mode::Keep };
        let word = if other == Mode::Drop { "without" } else { "with" };
        let delta = cell.difference(other).and_then(|other| other.delta);
        let comparison = delta.map_or_else(String::new, |delta| format!(", {word} {}", signed(delta, 1)));
        parts.push(format!("{} inside{comparison}", count(degenerate, "degenerate run")));
    }
    if cell.n_failed > 0 {
        parts.push(format!("{} without a score", count(cell.n_failed, "run")));
    }
    format!("{} \u{2192} {}: {}", cell.intermediate, cell.task, parts.join("; "))
}

fn delta(difference: &Difference, mark: Mark, matrix: &Matrix<'_>) -> Vec<String> {
    let options = &matrix.analysis.options;
    let interval = match difference.lo.zip(difference.hi) {
        None => "no interval".to_owned(),
        Some((lo, hi)) => format!(
            "{} interval {} to {}, {}",
            confidence(options.alpha),
            signed(lo, 1),
            signed(hi, 1),
            method(options.method)
        ),
    };
    let delta = signed(difference.delta.unwrap_or(0.0), 1);
    let mut parts =
        vec![format!("{delta} points, {interval}, n = {} and {}", difference.arms.n, difference.arms.n_base)];
    if let Some((holm, bh)) = difference.p_holm.zip(difference.p_bh) {
        parts.push(format!("{} (Holm {}, BH {})", verdict(difference, mark), p_value(holm), p_value(bh)));
    }
    parts
}

/// The verdict on a cell. It is never "no effect", since a test cannot show that.
pub(crate) fn verdict(difference: &Difference, mark: Mark) -> &'static str {
    let better = difference.delta.is_some_and(|delta| delta > 0.0);
    match (mark, better) {
        (Mark::Shown, true) => "shown to help",
        (Mark::Shown, false) => "shown to harm",
        (Mark::Suggested, true) => "may help",
        (Mark::Suggested, false) => "may harm",
        (Mark::None, _) => "not shown to differ",
    }
}

fn without_delta(status: CellStatus, difference: Option<&Difference>, matrix: &Matrix<'_>) -> String {
    let score = difference.and_then(|difference| difference.arms.mean);
    match status {
        CellStatus::Missing => "no run".to_owned(),
        CellStatus::AllDegenerate => "no clean run in one of the arms".to_owned(),
        _ => {
            let score = score.map_or_else(String::new, |mean| format!("score {}, ", plain(mean, 1)));
            format!("{score}no run of the baseline `{}`", matrix.baseline())
        }
    }
}

/// Name of a method in running text.
pub(crate) fn method(method: Method) -> &'static str {
    match method {
        Method::Moderated => "moderated t",
        Method::Welch => "Welch t",
    }
}

/// Treatment of degenerate runs, in running text.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Keep => "degenerate runs kept",
        Mode::Drop => "degenerate runs left out",
    }
}

/// Notes needed to read a map: restarts, mode, method, families, and what the intervals leave out.
pub(crate) fn about(matrix: &Matrix<'_>) -> Vec<String> {
    let analysis = matrix.analysis;
    let mut lines = Vec::new();
    if let Some([cells, baseline]) = matrix.restarts() {
        lines.push(format!(
            "Restarts: {} per cell, {} of the baseline; {}.",
            range(cells),
            range(baseline),
            mode(matrix.mode)
        ));
    }
    let variance = &analysis.modes.of(matrix.mode).variance;
    let family = |role, size: usize, noun: &str| {
        // A family without columns is not mentioned.
        let present = matrix.columns.iter().any(|column| column.role == role);
        present.then(|| count(size, &format!("{noun} cell")))
    };
    let families = [
        family(Role::Target, variance.target.family_size, "target"),
        family(Role::Probe, variance.probe.family_size, "probe"),
    ];
    let families: Vec<String> = families.into_iter().flatten().collect();
    lines.push(format!(
        "{} intervals by {}; p-values adjusted {} (Holm, Benjamini-Hochberg).",
        confidence(analysis.options.alpha),
        method(analysis.options.method),
        match families.as_slice() {
            [] => "over no cell".to_owned(),
            [only] => format!("for {only}"),
            several => format!("separately for {}", several.join(" and ")),
        }
    ));
    if matrix.tiles().any(|tile| tile.single() && tile.difference.is_some_and(|cell| cell.lo.is_some())) {
        lines.push("A cell with a single run takes its spread from the other arms of its task.".to_owned());
    }
    lines.push(
        "Intervals describe restarts on this dev set; they do not include the sampling of the dev examples.".to_owned(),
    );
    lines
}

fn range((low, high): (usize, usize)) -> String {
    if low == high { low.to_string() } else { format!("{low} to {high}") }
}

/// Title of an analysis: its name and encoder, where the file has them.
pub(crate) fn title_of(analysis: &Analysis) -> String {
    match (analysis.study.as_str(), analysis.encoder.as_str()) {
        ("", "") => "Transfer".to_owned(),
        (study, "") => format!("Transfer: {study}"),
        ("", encoder) => format!("Transfer from {encoder}"),
        (study, encoder) => format!("Transfer: {study}, from {encoder}"),
    }
}
