//! The transfer matrix as a picture: one SVG file without script or outside font, readable on light and dark pages.

mod geometry;
mod legend;
mod tile;

use super::matrix::{Matrix, MatrixRow};
use super::words;
use crate::analysis::Analysis;
use crate::format::{cut, plain, xml};
use crate::options::Mode;

use geometry::{Geometry, LONGEST_NAME, MARGIN, TILE, decimals, put};
use tile::{draw_dash, draw_delta, draw_tile};

/// Colours and type. The tiles keep their colours in both schemes, so that a figure means the same everywhere.
const STYLE: &str = "\
:root{color-scheme:light dark}\
text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#1f2328}\
.bg{fill:#fff}.t{text-anchor:middle;font-variant-numeric:tabular-nums}.r{text-anchor:end}.h{font-size:15px;font-weight:600}\
.m{fill:#59636e}.b{fill:#000}.w{fill:#fff}.sb{stroke:#000;fill:none}.sw{stroke:#fff;fill:none}\
.line{stroke:#818b98;fill:none}.ink{fill:#1f2328}.sink{stroke:#1f2328;fill:none}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.bg{fill:#0d1117}.m{fill:#9198a1}.b{fill:#000}.w{fill:#fff}\
.line{stroke:#6e7681}.ink{fill:#e6edf3}.sink{stroke:#e6edf3}}";

/// Draws the deltas of every cell, coloured symmetrically around 0, with the baseline's scores above them and the
/// average gain beside the targets. `mode` says what is done with degenerate runs; the colours end at the same limit in both modes.
///
/// Needs no network, script or font of its own. The text of every name is escaped.
pub fn svg(analysis: &Analysis, mode: Mode) -> String {
    // The head of the file is written last: its width and height depend on the legend, and that on the marks that
    // occur.
    let matrix = Matrix::new(analysis, mode);
    let geometry = Geometry::new(&matrix);
    let mut body = String::new();
    column_labels(&mut body, &matrix, &geometry);
    baseline(&mut body, &matrix, &geometry);
    for (place, row) in matrix.rows.iter().enumerate() {
        draw_row(&mut body, &matrix, &geometry, row, geometry.first_row + place as f64 * TILE.1);
    }
    group_names(&mut body, &matrix, &geometry);
    let legend = legend::draw(&matrix, &geometry);
    let height = geometry.bottom + legend.height + MARGIN;
    let width = geometry.width.max(MARGIN + legend.width + MARGIN);
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

fn column_labels(body: &mut String, matrix: &Matrix<'_>, geometry: &Geometry) {
    let names = matrix.columns.iter().map(|column| column.task.as_str()).zip(geometry.columns.iter().copied());
    for (name, left) in names.chain(geometry.average.map(|left| ("average", left))) {
        let (x, y) = (left + TILE.0 / 2.0, geometry.label_line);
        put(
            body,
            format_args!(
                "<text transform=\"translate({x:.1} {y:.1}) rotate(-45)\">{}</text>\n",
                xml(&cut(name, LONGEST_NAME))
            ),
        );
    }
}

/// Names the groups of columns, below the first column of each.
fn group_names(body: &mut String, matrix: &Matrix<'_>, geometry: &Geometry) {
    let targets = matrix.targets();
    let groups =
        [("targets", (targets > 0).then_some(0)), ("probes", (targets < geometry.columns.len()).then_some(targets))];
    for (name, first) in groups {
        if let Some(first) = first {
            let (x, y) = (geometry.columns[first], geometry.bottom + 15.0);
            put(body, format_args!("<text class=\"m\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\n"));
        }
    }
}

fn row_label(body: &mut String, geometry: &Geometry, name: &str, top: f64) {
    let (x, y) = (geometry.left - 8.0, top + TILE.1 / 2.0 + 4.0);
    // Cut before it is escaped, or an entity such as `&amp;` could lose its end.
    let name = xml(&cut(name, LONGEST_NAME));
    put(body, format_args!("<text class=\"r\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>\n"));
}

/// The baseline's scores: absolute, not coloured.
fn baseline(body: &mut String, matrix: &Matrix<'_>, geometry: &Geometry) {
    row_label(body, geometry, matrix.baseline(), geometry.baseline);
    let y = geometry.baseline + TILE.1 / 2.0 + 4.0;
    for (column, left) in matrix.columns.iter().zip(&geometry.columns) {
        let mean = column.baseline(matrix.mode).mean;
        let text = mean.map_or_else(|| "\u{2013}".to_owned(), |mean| plain(mean, 1));
        put(body, format_args!("<text class=\"t\" x=\"{:.1}\" y=\"{y:.1}\">{text}</text>\n", left + TILE.0 / 2.0));
    }
}

fn draw_row(body: &mut String, matrix: &Matrix<'_>, geometry: &Geometry, row: &MatrixRow<'_>, top: f64) {
    row_label(body, geometry, row.intermediate, top);
    for (tile, left) in row.tiles.iter().zip(&geometry.columns) {
        put(body, format_args!("<g transform=\"translate({left:.1} {top:.1})\">"));
        // Browsers show this as a tooltip; it is the only place in the picture for an interval and a p-value.
        put(body, format_args!("<title>{}</title>", xml(&words::cell(tile, matrix))));
        draw_tile(body, tile, matrix.limit);
        body.push_str("</g>\n");
    }
    if let Some(left) = geometry.average {
        put(body, format_args!("<g transform=\"translate({left:.1} {top:.1})\">"));
        match row.average {
            Some(average) => draw_delta(body, average, matrix.limit),
            None => draw_dash(body),
        }
        body.push_str("</g>\n");
    }
}
