//! The legend under the matrix: the colour bar, every mark with its count, and how to read the numbers.

use super::geometry::{Geometry, LETTER, MARGIN, decimals, put};
use super::tile::{draw_degenerate, draw_mark};
use crate::format::{plain, signed, xml};
use crate::report::color::diverging;
use crate::report::matrix::{DegenerateMark, Mark, Matrix, Tile};
use crate::report::words;

/// A drawn legend.
pub(super) struct Legend {
    pub(super) body: String,
    pub(super) height: f64,
    pub(super) width: f64,
}

const LINE: f64 = 19.0;
// An SVG gradient would interpolate in sRGB; stripes show exactly the colours of the tiles.
const STRIPES: i32 = 40;
const STRIPE: f64 = 5.0;

/// Draws the legend below the last row.
pub(super) fn draw(matrix: &Matrix<'_>, geometry: &Geometry) -> Legend {
    let mut body = String::new();
    let top = geometry.bottom + 32.0;
    color_bar(&mut body, matrix.limit, top);
    let mut y = top + 48.0;
    let mut widest = f64::from(STRIPES) * STRIPE;
    let mut text_line = |body: &mut String, y: f64, indent: f64, class: &str, words: &str| {
        put(
            body,
            format_args!("<text class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>\n", MARGIN + indent, xml(words)),
        );
        widest = f64::max(widest, indent + LETTER * words.chars().count() as f64);
    };
    for (symbol, words) in entries(matrix) {
        put(&mut body, format_args!("<g transform=\"translate({MARGIN} {:.1})\">{symbol}</g>", y - 10.0));
        text_line(&mut body, y, 22.0, "l", &words);
        y += LINE;
    }
    y += 6.0;
    for line in words::about(matrix).iter().chain(&common(matrix)) {
        text_line(&mut body, y, 0.0, "m", line);
        y += LINE;
    }
    Legend { body, height: y - geometry.bottom, width: widest }
}

fn color_bar(body: &mut String, limit: f64, top: f64) {
    for stripe in 0..STRIPES {
        let share = (f64::from(stripe) + 0.5) / f64::from(STRIPES) * 2.0 - 1.0;
        let x = MARGIN + f64::from(stripe) * STRIPE;
        let color = diverging(share, 1.0).hex();
        // 0.2 pixels wider than the step, or some viewers draw seams between the stripes.
        put(body, format_args!("<rect x=\"{x}\" y=\"{top:.1}\" width=\"{STRIPE}.2\" height=\"12\" fill=\"{color}\"/>"));
    }
    let width = f64::from(STRIPES) * STRIPE;
    let ends = [(-limit, 0.0, ""), (0.0, width / 2.0, "t"), (limit, width, "r")];
    for (value, x, class) in ends {
        let (x, y) = (MARGIN + x, top + 25.0);
        let text = signed(value, decimals(limit));
        put(body, format_args!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>"));
    }
    let (x, y) = (MARGIN + width + 10.0, top + 10.0);
    put(
        body,
        format_args!(
            "<text class=\"m\" x=\"{x:.1}\" y=\"{y:.1}\">points above (blue) or below (red) the baseline</text>\n"
        ),
    );
}

/// A symbol of 14 x 12 pixels and what it means, with the number of tiles that carry it.
fn entries(matrix: &Matrix<'_>) -> Vec<(String, String)> {
    let count = |has: &dyn Fn(&Tile<'_>) -> bool| matrix.tiles().filter(|tile| has(tile)).count();
    let drawn = |draw: &dyn Fn(&mut String)| {
        let mut symbol = String::new();
        draw(&mut symbol);
        symbol
    };
    let alpha = matrix.analysis.options.alpha;
    let mark = |mark: Mark| drawn(&|body| draw_mark(body, mark, "ink", (7.0, 6.0)));
    let corner = |mark: DegenerateMark| drawn(&|body| draw_degenerate(body, mark, "ink"));
    let boxed = |extra: &str| format!("<rect class=\"line\" x=\".5\" y=\".5\" width=\"13\" height=\"11\"/>{extra}");
    let beyond = |tile: &Tile<'_>| tile.delta().is_some_and(|delta| delta.abs() > matrix.limit);
    let limit = plain(matrix.limit, decimals(matrix.limit));
    // Every mark is listed, with (0) if it does not occur: a reader can then tell "none" from "not marked".
    vec![
        (mark(Mark::Shown), format!("Holm's p < {alpha}: shown to differ ({})", count(&|t| t.mark == Mark::Shown))),
        (
            mark(Mark::Suggested),
            format!("only Benjamini-Hochberg's p < {alpha}: may differ ({})", count(&|t| t.mark == Mark::Suggested)),
        ),
        (
            corner(DegenerateMark::Inside),
            format!("degenerate run inside ({})", count(&|t| t.degenerate != DegenerateMark::None)),
        ),
        (
            corner(DegenerateMark::Decisive),
            format!(
                "its sign or mark rests on degenerate runs ({})",
                count(&|t| t.degenerate == DegenerateMark::Decisive)
            ),
        ),
        (
            boxed("<path class=\"sink\" d=\"M1 11 11 1M6 12 14 4\"/>"),
            format!("incomplete: planned runs without a score ({})", count(&|t| t.incomplete())),
        ),
        (
            boxed("<path class=\"sink\" d=\"M4 6H10\"/>"),
            format!("no difference: this cell or its baseline has no run ({})", count(&|t| t.delta().is_none())),
        ),
        (
            "<rect class=\"sink\" x=\".5\" y=\".5\" width=\"13\" height=\"11\" stroke-dasharray=\"1.5 2\"/>".to_owned(),
            format!("a single run ({})", count(&|t| t.single())),
        ),
        (
            "<path class=\"ink\" d=\"M2 11 7 5 12 11Z\"/>".to_owned(),
            format!("beyond {limit} points: the colour ends ({})", count(&beyond)),
        ),
    ]
}

/// Says which targets the average covers, if not all of them.
fn common(matrix: &Matrix<'_>) -> Option<String> {
    let common = matrix.analysis.modes.of(matrix.mode).averages.common_tasks.len();
    let targets = matrix.targets();
    (targets > 0 && common < targets).then(|| {
        format!("The average is over the {common} of {targets} targets on which every intermediate has a difference.")
    })
}
