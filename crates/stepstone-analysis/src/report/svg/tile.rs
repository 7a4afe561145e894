//! One tile of the picture: colour, number and marks.

use super::geometry::{TILE, put};
use crate::format::signed;
use crate::report::color::diverging;
use crate::report::matrix::{DegenerateMark, Mark, Tile};

pub(super) fn draw_tile(body: &mut String, tile: &Tile<'_>, limit: f64) {
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
    // The marks are in opposite corners, so that a tile can carry both and its number stays clear.
    draw_mark(body, tile.mark, ink, (width - 5.0, 5.0));
    draw_degenerate(body, tile.degenerate, ink);
}

/// A coloured tile with its number, and a notch where the colours end before the number does.
pub(super) fn draw_delta(body: &mut String, delta: f64, limit: f64) {
    let color = diverging(delta, limit);
    let ink = if color.takes_black() { 'b' } else { 'w' };
    let (width, height) = TILE;
    put(
        body,
        format_args!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/><text class=\"t {ink}\" x=\"{}\" y=\"{}\">{}</text>",
            color.hex(),
            width / 2.0,
            // The base line is 4 pixels below the middle, half the height of a digit of 12 px.
            height / 2.0 + 4.0,
            signed(delta, 1)
        ),
    );
    // The number tells the size, the notch that the colour does not.
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

pub(super) fn draw_dash(body: &mut String) {
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
pub(super) fn draw_mark(body: &mut String, mark: Mark, ink: impl std::fmt::Display, (x, y): (f64, f64)) {
    match mark {
        Mark::Shown => put(body, format_args!("<circle class=\"{ink}\" cx=\"{x}\" cy=\"{y}\" r=\"2.6\"/>")),
        Mark::Suggested => put(body, format_args!("<circle class=\"s{ink}\" cx=\"{x}\" cy=\"{y}\" r=\"2.4\"/>")),
        Mark::None => {}
    }
}

/// A corner triangle, filled where the degenerate runs decide the sign or the mark.
pub(super) fn draw_degenerate(body: &mut String, mark: DegenerateMark, ink: impl std::fmt::Display) {
    match mark {
        DegenerateMark::Decisive => put(body, format_args!("<path class=\"{ink}\" d=\"M0 0H9L0 9Z\"/>")),
        DegenerateMark::Inside => put(body, format_args!("<path class=\"s{ink}\" d=\"M.8 .8H8L.8 8Z\"/>")),
        DegenerateMark::None => {}
    }
}
