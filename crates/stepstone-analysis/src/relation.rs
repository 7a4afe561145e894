//! Relations over the map: is a property of a task related to its gains?

use serde::{Deserialize, Serialize};

use crate::coefficient::{spearman, spearman_interval};

/// A Spearman correlation over labelled points. With 11 points a correlation below 0.60 is not significant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// The two quantities: `x vs y`.
    pub name: String,
    /// Number of points.
    pub n: usize,
    /// Spearman's rho; `None` below 3 points or where one side is constant.
    pub rho: Option<f64>,
    /// Two-sided p-value, t on n - 2 degrees of freedom; `None` below 4 points.
    pub p: Option<f64>,
    /// Lower end of the 1 - alpha interval (Bonett and Wright 2000).
    pub lo: Option<f64>,
    /// Upper end of the 1 - alpha interval.
    pub hi: Option<f64>,
    /// Name of each point.
    pub labels: Vec<String>,
    /// First coordinate of each point.
    pub x: Vec<f64>,
    /// Second coordinate of each point.
    pub y: Vec<f64>,
}

/// Relates `y` to `x` over the points that have both.
pub(crate) fn relation(name: &str, labels: &[String], x: &[Option<f64>], y: &[Option<f64>], alpha: f64) -> Relation {
    // Points that lack a coordinate go before the ranking: they would shift the ranks of the others.
    let points = labels.iter().zip(x.iter().zip(y)).filter_map(|(label, (x, y))| Some((label, (*x)?, (*y)?)));
    let points: Vec<(&String, f64, f64)> = points.collect();
    let (x, y): (Vec<f64>, Vec<f64>) = points.iter().map(|(_, x, y)| (*x, *y)).unzip();
    let found = spearman(&x, &y).ok();
    let interval = found.and_then(|found| spearman_interval(found.r, x.len(), alpha));
    Relation {
        name: name.to_owned(),
        n: points.len(),
        rho: found.map(|found| found.r),
        p: found.and_then(|found| found.p),
        lo: interval.map(|interval| interval.0),
        hi: interval.map(|interval| interval.1),
        labels: points.iter().map(|(label, _, _)| (*label).clone()).collect(),
        x,
        y,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_without_both_coordinates_are_left_out() {
        let labels: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let x = [Some(1.0), None, Some(3.0), Some(2.0), Some(9.0)];
        let y = [Some(5.0), Some(1.0), Some(6.0), Some(7.0), None];
        let found = relation("x vs y", &labels, &x, &y, 0.05);
        assert_eq!((found.labels.concat(), found.n, found.rho, found.p), ("acd".to_owned(), 3, Some(0.5), None));
        let empty = relation("x vs y", &labels, &[None; 5], &y, 0.05);
        assert_eq!((empty.n, empty.rho, empty.lo), (0, None, None));
    }
}
