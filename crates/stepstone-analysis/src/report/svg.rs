//! The transfer matrix as a picture: one SVG file without script or outside font, readable on light and dark pages.

mod legend;

use std::fmt::Write as _;

use super::color::diverging;
use super::format::{cut, plain, signed, xml};
use super::matrix::{DegenerateMark, Mark, Matrix, Row, Tile};
use super::words;
use crate::analysis::Analysis;
use crate::options::Mode;

/// Sizes in pixels.
const TILE: (f64, f64) = (52.0, 26.0);
const GAP: f64 = 10.0;
const MARGIN: f64 = 16.0;
/// Advance of a wide 12 px sans-serif letter; labels are laid out by it, since an SVG cannot measure text.
const LETTER: f64 = 7.2;
/// Longer names are cut; the full one stands in the title of its tile.
const LONGEST_NAME: usize = 28;
/// Length of a label that leans at 45 degrees, as height and as width.
const LEAN: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Colours and type. The tiles keep their colours in both schemes, so that a figure means the same everywhere.
const STYLE: &str = "\
:root{color-scheme:light dark}\
text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#1f2328}\
.bg{fill:#fff}.t{text-anchor:middle;font-variant-numeric:tabular-nums}.r{text-anchor:end}.h{font-size:15px;font-weight:600}\
.m{fill:#59636e}.b{fill:#000}.w{fill:#fff}.sb{stroke:#000;fill:none}.sw{stroke:#fff;fill:none}\
.line{stroke:#818b98;fill:none}.ink{fill:#1f2328}.sink{stroke:#1f2328;fill:none}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.m{fill:#9198a1}.b{fill:#000}.w{fill:#fff}\
.line{stroke:#6e7681}.ink{fill:#e6edf3}.sink{stroke:#e6edf3}}";

/// Draws the deltas of every cell, coloured about 0, with the baseline's scores above them and the average gain beside
/// the targets. `mode` says what is done with degenerate runs; the colours end at the same limit in both modes.
///
/// Needs no network, script or font of its own. The text of every name is escaped.
pub fn svg(analysis: &Analysis, mode: Mode) -> String {
    let matrix = Matrix::new(analysis, mode);
    let plan = Plan::new(&matrix);
    let mut body = String::new();
    column_labels(&mut body, &matrix, &plan);
    baseline(&mut body, &matrix, &plan);
    for (place, row) in matrix.rows.iter().enumerate() {
        draw_row(&mut body, &matrix, &plan, row, plan.first_row + place as f64 * TILE.1);
    }
    group_names(&mut body, &matrix, &plan);
    let legend = legend::draw(&matrix, &plan);
    let height = plan.bottom + legend.height + MARGIN;
    let width = plan.width.max(MARGIN + legend.width + MARGIN);
    let title = xml(&words::title_of(analysis));
    let mut text = String::new();
    put(
        &mut text,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\" aria-labelledby=\"title desc\">\n<title id=\"title\">{title}</title>\n\
             <desc id=\"desc\">{}</desc>\n<style>{STYLE}</style>\n{PATTERNS}\n\
             <rect class=\"bg\" width=\"100%\" height=\"100%\"/>\n\
             <text class=\"h\" x=\"{MARGIN}\" y=\"{:.0}\">{title}</text>\n",
            xml(&description(&matrix)),
            MARGIN + 12.0
        ),
    );
    text.push_str(&body);
    text.push_str(&legend.body);
    text.push_str("</svg>\n");
    text
}

/// Hatching in black and in white, for light and dark tiles.
const PATTERNS: &str = "<defs>\
<pattern id=\"hb\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><path d=\"M0 6 6 0\" class=\"sb\" stroke-opacity=\".4\"/></pattern>\
<pattern id=\"hw\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><path d=\"M0 6 6 0\" class=\"sw\" stroke-opacity=\".5\"/></pattern>\
</defs>";

/// Appends to a text, which cannot fail.
fn put(text: &mut String, piece: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(piece);
}

/// Where everything stands.
struct Plan {
    /// Left edge of the first tile.
    left: f64,
    /// Left edges of the columns, in the order of the matrix.
    columns: Vec<f64>,
    /// Left edge of the average column, if there are targets.
    average: Option<f64>,
    /// Base line of the column labels.
    label_line: f64,
    /// Upper edge of the baseline's row.
    baseline: f64,
    /// Upper edge of the first intermediate's row.
    first_row: f64,
    /// Lower edge of the last row.
    bottom: f64,
    width: f64,
}

impl Plan {
    fn new(matrix: &Matrix<'_>) -> Self {
        let length = |name: &str| LETTER * name.chars().count().min(LONGEST_NAME) as f64;
        let longest = |names: &mut dyn Iterator<Item = &str>| names.map(length).fold(0.0, f64::max);
        let rows = longest(&mut matrix.rows.iter().map(|row| row.intermediate).chain([matrix.baseline()]));
        let labels = longest(&mut matrix.columns.iter().map(|column| column.task.as_str()).chain(["average"]));
        let left = MARGIN + rows + 8.0;
        let targets = matrix.targets();
        let mut columns: Vec<f64> = (0..targets).map(|i| left + i as f64 * TILE.0).collect();
        let mut right = left + targets as f64 * TILE.0;
        let average = (targets > 0).then_some(right + GAP);
        if let Some(edge) = average {
            right = edge + TILE.0 + GAP;
        }
        columns.extend((0..matrix.columns.len() - targets).map(|i| right + i as f64 * TILE.0));
        let last = columns.last().map_or(left, |edge| edge + TILE.0).max(average.map_or(left, |edge| edge + TILE.0));
        let label_line = MARGIN + 30.0 + LEAN * labels;
        let baseline = label_line + 8.0;
        let first_row = baseline + TILE.1 + GAP;
        let bottom = first_row + matrix.rows.len() as f64 * TILE.1;
        Self { left, columns, average, label_line, baseline, first_row, bottom, width: last + LEAN * labels + MARGIN }
    }
}

fn description(matrix: &Matrix<'_>) -> String {
    let mut text = format!(
        "Heat map of {} intermediate tasks (rows) by {} targets and {} probes (columns). Each tile is the mean score \
         less the baseline's, in points; blue is a gain, red a loss, and the colours end at {} points.",
        matrix.rows.len(),
        matrix.targets(),
        matrix.columns.len() - matrix.targets(),
        plain(matrix.limit, decimals(matrix.limit)),
    );
    for line in words::about(matrix) {
        text.push(' ');
        text.push_str(&line);
    }
    text
}

/// Decimals that a round number of 1, 2 or 5 times a power of ten needs.
fn decimals(limit: f64) -> usize {
    if limit >= 1.0 { 0 } else { (-limit.log10().floor()) as usize }
}

fn column_labels(body: &mut String, matrix: &Matrix<'_>, plan: &Plan) {
    let names = matrix.columns.iter().map(|column| column.task.as_str()).zip(plan.columns.iter().copied());
    for (name, left) in names.chain(plan.average.map(|left| ("average", left))) {
        let (x, y) = (left + TILE.0 / 2.0, plan.label_line);
        put(
            body,
            format_args!(
                "<text transform=\"translate({x:.1} {y:.1}) rotate(-45)\">{}</text>\n",
                xml(&cut(name, LONGEST_NAME))
            ),
        );
    }
}

/// What the columns are, under the first of each kind.
fn group_names(body: &mut String, matrix: &Matrix<'_>, plan: &Plan) {
    let targets = matrix.targets();
    let groups =
        [("targets", (targets > 0).then_some(0)), ("probes", (targets < plan.columns.len()).then_some(targets))];
    for (name, first) in groups {
        if let Some(first) = first {
            let (x, y) = (plan.columns[first], plan.bottom + 15.0);
            put(body, format_args!("<text class=\"m\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\n"));
        }
    }
}

fn row_label(body: &mut String, plan: &Plan, name: &str, top: f64) {
    let (x, y) = (plan.left - 8.0, top + TILE.1 / 2.0 + 4.0);
    let name = xml(&cut(name, LONGEST_NAME));
    put(body, format_args!("<text class=\"r\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\n"));
}

/// The baseline's scores: absolute, not coloured.
fn baseline(body: &mut String, matrix: &Matrix<'_>, plan: &Plan) {
    row_label(body, plan, matrix.baseline(), plan.baseline);
    let y = plan.baseline + TILE.1 / 2.0 + 4.0;
    for (column, left) in matrix.columns.iter().zip(&plan.columns) {
        let mean = column.baseline(matrix.mode).mean;
        let text = mean.map_or_else(|| "\u{2013}".to_owned(), |mean| plain(mean, 1));
        put(body, format_args!("<text class=\"t\" x=\"{:.1}\" y=\"{y:.1}\">{text}</text>\n", left + TILE.0 / 2.0));
    }
}

fn draw_row(body: &mut String, matrix: &Matrix<'_>, plan: &Plan, row: &Row<'_>, top: f64) {
    row_label(body, plan, row.intermediate, top);
    for (tile, left) in row.tiles.iter().zip(&plan.columns) {
        put(body, format_args!("<g transform=\"translate({left:.1} {top:.1})\">"));
        put(body, format_args!("<title>{}</title>", xml(&words::cell(tile, matrix))));
        draw_tile(body, tile, matrix.limit);
        body.push_str("</g>\n");
    }
    if let Some(left) = plan.average {
        put(body, format_args!("<g transform=\"translate({left:.1} {top:.1})\">"));
        match row.average {
            Some(average) => draw_delta(body, average, matrix.limit),
            None => draw_dash(body),
        }
        body.push_str("</g>\n");
    }
}

fn draw_tile(body: &mut String, tile: &Tile<'_>, limit: f64) {
    let Some(delta) = tile.delta() else { return draw_dash(body) };
    draw_delta(body, delta, limit);
    let ink = if diverging(delta, limit).takes_black() { 'b' } else { 'w' };
    let (width, height) = TILE;
    if tile.incomplete() {
        put(body, format_args!("<rect width=\"{width}\" height=\"{height}\" fill=\"url(#h{ink})\"/>"));
    }
    if tile.single() {
        let (w, h) = (width - 5.0, height - 5.0);
        put(
            body,
            format_args!(
                "<rect class=\"s{ink}\" x=\"2.5\" y=\"2.5\" width=\"{w}\" height=\"{h}\" stroke-dasharray=\"1.5 2\"/>"
            ),
        );
    }
    draw_mark(body, tile.mark, ink, (width - 5.0, 5.0));
    draw_degenerate(body, tile.degenerate, ink);
}

/// A coloured tile with its number, and a notch where the colours end before the number does.
fn draw_delta(body: &mut String, delta: f64, limit: f64) {
    let color = diverging(delta, limit);
    let ink = if color.takes_black() { 'b' } else { 'w' };
    let (width, height) = TILE;
    put(
        body,
        format_args!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/><text class=\"t {ink}\" x=\"{}\" y=\"{}\">{}</text>",
            color.hex(),
            width / 2.0,
            height / 2.0 + 4.0,
            signed(delta, 1)
        ),
    );
    if delta.abs() > limit {
        let (middle, above) = (width / 2.0, height - 5.0);
        put(
            body,
            format_args!(
                "<path class=\"bg\" d=\"M{:.1} {height}L{middle:.1} {above}L{:.1} {height}Z\"/>",
                middle - 5.0,
                middle + 5.0
            ),
        );
    }
}

fn draw_dash(body: &mut String) {
    let (width, height) = TILE;
    put(
        body,
        format_args!(
            "<rect class=\"line\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\"/>\
             <text class=\"t\" x=\"{}\" y=\"{}\">\u{2013}</text>",
            width - 1.0,
            height - 1.0,
            width / 2.0,
            height / 2.0 + 4.0
        ),
    );
}

/// A dot for what is shown, a ring for what is suggested; `ink` is the class of the colour.
fn draw_mark(body: &mut String, mark: Mark, ink: impl std::fmt::Display, (x, y): (f64, f64)) {
    match mark {
        Mark::Shown => put(body, format_args!("<circle class=\"{ink}\" cx=\"{x}\" cy=\"{y}\" r=\"2.6\"/>")),
        Mark::Suggested => put(body, format_args!("<circle class=\"s{ink}\" cx=\"{x}\" cy=\"{y}\" r=\"2.4\"/>")),
        Mark::None => {}
    }
}

/// A corner triangle, filled where the degenerate runs decide the sign or the mark.
fn draw_degenerate(body: &mut String, mark: DegenerateMark, ink: impl std::fmt::Display) {
    match mark {
        DegenerateMark::Decisive => put(body, format_args!("<path class=\"{ink}\" d=\"M0 0H9L0 9Z\"/>")),
        DegenerateMark::Inside => put(body, format_args!("<path class=\"s{ink}\" d=\"M.8 .8H8L.8 8Z\"/>")),
        DegenerateMark::None => {}
    }
}
