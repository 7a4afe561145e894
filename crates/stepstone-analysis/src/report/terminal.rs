//! The transfer matrix as terminal text of a given width, with or without colour.

use super::color::{Rgb, diverging};
use super::matrix::{DegenerateMark, Mark, Matrix, MatrixRow, Tile};
use super::words;
use crate::analysis::Analysis;
use crate::format::{cut, plain, signed, terminal as safe};
use crate::options::Mode;

/// Whether text carries colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    /// Plain text.
    None,
    /// Escape sequences for the 256 colours that terminals share.
    Ansi256,
}

/// How text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Columns of the terminal; 40 or more.
    pub width: usize,
    /// Whether text carries colours.
    pub color: Color,
}

impl Default for Layout {
    fn default() -> Self {
        Self { width: 80, color: Color::None }
    }
}

/// Width of a tile: sign, three digits, point, one decimal and two marks.
const TILE: usize = 8;
// With both names at their longest, four columns still fit 80 characters.
const LONGEST_ROW_NAME: usize = 18;
const LONGEST_COLUMN_NAME: usize = 12;

/// The title and an empty line.
pub(crate) fn title(analysis: &Analysis, width: usize) -> String {
    format!("{}\n\n", cut(&safe(&words::title_of(analysis)), width))
}

/// Draws the deltas as colour tiles, in blocks of columns that fit the width; the average follows the last target.
pub(crate) fn transfer(analysis: &Analysis, mode: Mode, layout: Layout) -> String {
    let matrix = Matrix::new(analysis, mode);
    let mut text = String::new();
    let label = label_width(&matrix);
    let columns = columns(&matrix);
    let group = |from: usize, to: usize| -> Vec<&TileColumn<'_>> { columns[from..to].iter().collect() };
    let targets = columns.iter().position(|column| !column.in_targets).unwrap_or(columns.len());
    for group in [group(0, targets), group(targets, columns.len())] {
        for block in fit(&group, layout.width.saturating_sub(label)) {
            draw_block(&mut text, &matrix, block, label, layout.color);
            text.push('\n');
        }
    }
    text.push_str(&legend(&matrix, layout.width));
    text
}

/// A column of tiles: a task, or the average.
struct TileColumn<'a> {
    name: &'a str,
    /// Index into the columns of the matrix; `None` for the average.
    task: Option<usize>,
    in_targets: bool,
    width: usize,
}

fn columns<'a>(matrix: &Matrix<'a>) -> Vec<TileColumn<'a>> {
    let targets = matrix.targets();
    let width = |name: &str| name.chars().count().clamp(TILE, LONGEST_COLUMN_NAME) + 1;
    let task = |place: usize| {
        let name = matrix.columns[place].task.as_str();
        TileColumn { name, task: Some(place), in_targets: place < targets, width: width(name) }
    };
    let average = TileColumn { name: "average", task: None, in_targets: true, width: TILE + 1 };
    let mut columns: Vec<TileColumn<'a>> = (0..targets).map(task).collect();
    if targets > 0 {
        columns.push(average);
    }
    columns.extend((targets..matrix.columns.len()).map(task));
    columns
}

fn label_width(matrix: &Matrix<'_>) -> usize {
    let names = matrix.rows.iter().map(|row| row.intermediate).chain([matrix.baseline()]);
    names.map(|name| name.chars().count()).max().unwrap_or(0).min(LONGEST_ROW_NAME)
}

/// Cuts columns into blocks of at most `width`, each at least one column.
fn fit<'b, 'a>(columns: &'b [&'b TileColumn<'a>], width: usize) -> Vec<&'b [&'b TileColumn<'a>]> {
    let mut blocks = Vec::new();
    let mut rest = columns;
    while !rest.is_empty() {
        let mut used = 0;
        let fitting = rest.iter().take_while(|column| {
            used += column.width;
            used <= width
        });
        // At least one column, or a narrow terminal would never get to the end.
        let (block, after) = rest.split_at(fitting.count().max(1));
        blocks.push(block);
        rest = after;
    }
    blocks
}

fn draw_block(text: &mut String, matrix: &Matrix<'_>, block: &[&TileColumn<'_>], label: usize, color: Color) {
    let line = |text: &mut String, name: &str, cells: Vec<String>| {
        let line = format!("{:label$}{}", cut(&safe(name), label), cells.concat());
        text.push_str(line.trim_end());
        text.push('\n');
    };
    let right = |words: String, column: &TileColumn<'_>| format!("{words:>width$}", width = column.width);
    let heading = |column: &&TileColumn<'_>| right(cut(&safe(column.name), column.width - 1), column);
    line(text, "", block.iter().map(heading).collect());
    let absolute = |column: &&TileColumn<'_>| {
        let mean = column.task.and_then(|task| matrix.columns[task].baseline(matrix.mode).mean);
        let dash = if column.task.is_some() { "\u{2013}  " } else { "" };
        right(mean.map_or_else(|| dash.to_owned(), |mean| format!("{}  ", plain(mean, 1))), column)
    };
    line(text, matrix.baseline(), block.iter().map(absolute).collect());
    for row in &matrix.rows {
        line(text, row.intermediate, block.iter().map(|column| tile(row, column, matrix.limit, color)).collect());
    }
}

fn tile(row: &MatrixRow<'_>, column: &TileColumn<'_>, limit: f64, color: Color) -> String {
    let (delta, marks) = match column.task {
        Some(task) => (row.tiles[task].delta(), marks(&row.tiles[task])),
        None => (row.average, "  ".to_owned()),
    };
    let words = delta.map_or_else(|| "\u{2013}".to_owned(), |delta| signed(delta, 1)) + &marks;
    let words = format!("{words:>TILE$}");
    let gap = " ".repeat(column.width - TILE);
    match (color, delta) {
        (Color::Ansi256, Some(delta)) => format!("{gap}{}", paint(&words, diverging(delta, limit))),
        _ => format!("{gap}{words}"),
    }
}

/// Two places: what the tests say, and what the data lack.
fn marks(tile: &Tile<'_>) -> String {
    let test = match tile.mark {
        Mark::Shown => '*',
        Mark::Suggested => '.',
        Mark::None => ' ',
    };
    // One place for three letters: a sign that rests on a degenerate run matters more than a missing run.
    let data = match tile.degenerate {
        DegenerateMark::Decisive => 'D',
        DegenerateMark::Inside => 'd',
        DegenerateMark::None if tile.incomplete() => 'i',
        DegenerateMark::None => ' ',
    };
    format!("{test}{data}")
}

fn paint(words: &str, background: Rgb) -> String {
    // 16 and 231 are black and white in the cube, which themes do not change as they do the first 16 colours.
    let ink = if background.takes_black() { 16 } else { 231 };
    format!("\u{1b}[38;5;{ink};48;5;{}m{words}\u{1b}[0m", background.ansi256())
}

fn legend(matrix: &Matrix<'_>, width: usize) -> String {
    let alpha = matrix.analysis.options.alpha;
    // Only signs that occur are explained: a long legend would push the matrix off the screen.
    let any = |has: &dyn Fn(&Tile<'_>) -> bool| matrix.tiles().any(has);
    let mut signs = Vec::new();
    if any(&|tile| tile.mark == Mark::Shown) {
        signs.push(format!("* Holm's p < {alpha}"));
    }
    if any(&|tile| tile.mark == Mark::Suggested) {
        signs.push(format!(". only Benjamini-Hochberg's p < {alpha}"));
    }
    if any(&|tile| tile.degenerate == DegenerateMark::Inside) {
        signs.push("d degenerate run inside".to_owned());
    }
    if any(&|tile| tile.degenerate == DegenerateMark::Decisive) {
        signs.push("D sign or mark rests on a degenerate run".to_owned());
    }
    if matrix.tiles().any(Tile::incomplete) {
        signs.push("i incomplete".to_owned());
    }
    let mut text = String::new();
    let meaning =
        format!("Points above the mean of `{}`, whose own scores are in the first row.", safe(matrix.baseline()));
    let signs = (!signs.is_empty()).then(|| format!("{}.", signs.join("; ")));
    for line in [meaning].into_iter().chain(signs).chain(words::about(matrix)) {
        text.push_str(&wrap(&line, width));
    }
    text
}

/// Breaks a line at spaces so that it fits; a longer word gets a line of its own.
pub(crate) fn wrap(line: &str, width: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            text.push('\n');
            used = 0;
        }
        if used > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    text.push('\n');
    text
}
