//! The scores and the transfer matrix as Markdown tables.

use std::fmt::Write as _;

use super::matrix::{DegenerateMark, Mark, Matrix, MatrixRow, Tile};
use super::words;
use crate::analysis::Analysis;
use crate::baseline::Baseline;
use crate::format::{confidence, list, markdown as escape, plain, signed};
use crate::options::Mode;

/// Columns of one table; a wider matrix becomes several tables.
// With intervals a column takes about 25 characters, and six of them fit the width of a page.
const BLOCK: usize = 6;

/// Mean, standard deviation and number of the scores of every start point on every task, in points.
pub(crate) fn scores(analysis: &Analysis, mode: Mode) -> String {
    let matrix = Matrix::new(analysis, mode);
    let mut text = String::new();
    for block in blocks(&matrix) {
        head(&mut text, &block.heading, &names(&matrix, &block));
        let _ = write!(text, "| {} |", escape(matrix.baseline()));
        for column in &matrix.columns[block.range.clone()] {
            let Baseline { n, mean, sd } = *column.baseline(mode);
            let _ = write!(text, " {} |", score(n, mean, sd));
        }
        text.push('\n');
        for row in &matrix.rows {
            let _ = write!(text, "| {} |", escape(row.intermediate));
            for tile in &row.tiles[block.range.clone()] {
                let score = tile.difference.map_or_else(dash, |cell| score(cell.arms.n, cell.arms.mean, cell.arms.sd));
                let _ = write!(text, " {score}{} |", remarks(tile));
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str("Mean \u{b1} standard deviation over restarts (number of restarts), in points");
    let _ = writeln!(text, "; {}.{}", words::mode(mode), legend(&matrix, false));
    text
}

/// The differences from the baseline with their intervals, and the average gain, in points.
pub(crate) fn transfer(analysis: &Analysis, mode: Mode) -> String {
    let matrix = Matrix::new(analysis, mode);
    let mut text = String::new();
    for block in blocks(&matrix) {
        let mut columns = names(&matrix, &block);
        if block.average {
            columns.push("average".to_owned());
        }
        head(&mut text, &block.heading, &columns);
        for row in &matrix.rows {
            transfer_row(&mut text, row, &block);
        }
        text.push('\n');
    }
    let _ = writeln!(
        text,
        "Mean over restarts less the mean of `{}`, in points, with its {} interval; signed so that + is better. \
         Rows are sorted by average gain.{}",
        escape(matrix.baseline()),
        confidence(analysis.options.alpha),
        legend(&matrix, true)
    );
    for line in words::about(&matrix).into_iter().chain(averages_note(&matrix)) {
        let _ = write!(text, "\n- {line}");
    }
    text.push('\n');
    text
}

fn transfer_row(text: &mut String, row: &MatrixRow<'_>, block: &Block) {
    let _ = write!(text, "| {} |", escape(row.intermediate));
    for tile in &row.tiles[block.range.clone()] {
        let _ = write!(text, " {} |", delta(tile));
    }
    if block.average {
        let _ = write!(text, " {} |", row.average.map_or_else(dash, |average| format!("**{}**", signed(average, 1))));
    }
    text.push('\n');
}

/// A run of columns that one table shows.
struct Block {
    range: std::ops::Range<usize>,
    heading: String,
    /// True for the last block of targets, which also shows the average.
    average: bool,
}

fn blocks(matrix: &Matrix<'_>) -> Vec<Block> {
    let targets = matrix.targets();
    let groups = [(0, targets, "Targets"), (targets, matrix.columns.len(), "Probes")];
    let mut blocks = Vec::new();
    for (start, end, noun) in groups {
        let size = end - start;
        // Targets and probes never share a table, because p-values are corrected within each of the two.
        for first in (start..end).step_by(BLOCK) {
            let last = (first + BLOCK).min(end);
            let part = format!("{noun} ({} to {} of {size})", first - start + 1, last - start);
            let heading = if size <= BLOCK { noun.to_owned() } else { part };
            blocks.push(Block { range: first..last, heading, average: noun == "Targets" && last == end });
        }
    }
    blocks
}

fn head(text: &mut String, heading: &str, columns: &[String]) {
    let _ = write!(text, "| {heading} | {} |\n|---|", columns.join(" | "));
    text.push_str(&"---:|".repeat(columns.len()));
    text.push('\n');
}

fn names(matrix: &Matrix<'_>, block: &Block) -> Vec<String> {
    matrix.columns[block.range.clone()].iter().map(|column| escape(&column.task)).collect()
}

fn score(n: usize, mean: Option<f64>, sd: Option<f64>) -> String {
    match (mean, sd) {
        (None, _) => dash(),
        (Some(mean), None) => format!("{} ({n})", plain(mean, 1)),
        (Some(mean), Some(sd)) => format!("{} \u{b1} {} ({n})", plain(mean, 1), plain(sd, 1)),
    }
}

fn delta(tile: &Tile<'_>) -> String {
    let Some(delta) = tile.delta() else { return dash() };
    let interval = tile.difference.and_then(|cell| cell.lo.zip(cell.hi));
    let interval = interval.map_or_else(String::new, |(lo, hi)| format!(" [{}, {}]", signed(lo, 1), signed(hi, 1)));
    let mark = match tile.mark {
        Mark::Shown => "\u{25cf}",
        Mark::Suggested => "\u{25cb}",
        Mark::None => "",
    };
    format!("{}{interval}{mark}{}", signed(delta, 1), remarks(tile))
}

/// Letters for what a reader must know about a tile.
fn remarks(tile: &Tile<'_>) -> String {
    let mut letters = String::new();
    if tile.degenerate != DegenerateMark::None {
        letters.push_str(" d");
    }
    if tile.incomplete() {
        letters.push_str(" i");
    }
    letters
}

/// Meaning of the signs that occur.
fn legend(matrix: &Matrix<'_>, marks: bool) -> String {
    let alpha = matrix.analysis.options.alpha;
    let mut words = String::new();
    if marks && matrix.tiles().any(|tile| tile.mark == Mark::Shown) {
        let _ = write!(words, " \u{25cf}: Holm's p < {alpha}.");
    }
    if marks && matrix.tiles().any(|tile| tile.mark == Mark::Suggested) {
        let _ = write!(words, " \u{25cb}: only Benjamini-Hochberg's p < {alpha}.");
    }
    if matrix.tiles().any(|tile| tile.degenerate != DegenerateMark::None) {
        words.push_str(" d: a degenerate run in the cell or its baseline.");
    }
    if matrix.tiles().any(Tile::incomplete) {
        words.push_str(" i: incomplete, planned runs have no score.");
    }
    words
}

fn averages_note(matrix: &Matrix<'_>) -> Option<String> {
    let common = &matrix.analysis.modes.of(matrix.mode).averages.common_tasks;
    let partial = matrix.targets() > common.len();
    let names: Vec<String> = common.iter().map(|name| escape(name)).collect();
    partial.then(|| match names.as_slice() {
        [] => "No average: no target has a difference for every intermediate.".to_owned(),
        names => {
            format!("The average is over the targets on which every intermediate has a difference: {}.", list(names))
        }
    })
}

fn dash() -> String {
    "\u{2013}".to_owned()
}
