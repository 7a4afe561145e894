//! Ranks with their uncertainty: expected ranks, and rank sets that hold for all at once.

use crate::comparison::{Precision, compare};
use crate::multiple::{holm, over_defined};
use crate::options::Options;
use crate::special::t_sf;

/// A mean to be ranked; larger is better.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranked {
    /// The mean, in points.
    pub mean: f64,
    /// Its squared standard error and degrees of freedom; `None` if unknown.
    pub precision: Option<Precision>,
}

/// The rank of one mean; 1 is best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rank {
    /// 1 + the summed probabilities that another is better; `None` if the spread of a mean is unknown.
    pub expected: Option<f64>,
    /// 1 + the number of means that are significantly better.
    pub lo: usize,
    /// Their number less those that are significantly worse.
    pub hi: usize,
}

/// Ranks means against each other; the baseline cancels from the differences. Tests are corrected by Holm over all
/// pairs. Source: Al Mohamad, Goeman and van Zwet 2017.
pub(crate) fn ranks(means: &[Ranked], options: &Options) -> Vec<Rank> {
    let k = means.len();
    let pairs: Vec<(usize, usize)> = (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b))).collect();
    let test = |&(a, b): &(usize, usize)| {
        let (x, y) = means[a].precision.zip(means[b].precision)?;
        compare(means[a].mean - means[b].mean, x, y, options.method, options.alpha.value())
    };
    let tests: Vec<_> = pairs.iter().map(test).collect();
    let adjusted = over_defined(&tests.iter().map(|test| Some(test.as_ref()?.p)).collect::<Vec<_>>(), holm);

    let mut found = vec![Rank { expected: Some(1.0), lo: 1, hi: k }; k];
    for ((&(a, b), test), p) in pairs.iter().zip(&tests).zip(adjusted) {
        // P(b > a) under a t distribution around the observed difference.
        let b_above = test.as_ref().map(|test| t_sf(test.t, test.df));
        found[a].expected = found[a].expected.zip(b_above).map(|(sum, above)| sum + above);
        found[b].expected = found[b].expected.zip(b_above).map(|(sum, above)| sum + (1.0 - above));
        // Each significant pair moves one bound of both rows, so that the rank sets hold for all rows at once.
        if p.is_some_and(|p| p < options.alpha.value()) {
            let (better, worse) = if means[a].mean > means[b].mean { (a, b) } else { (b, a) };
            found[worse].lo += 1;
            found[better].hi -= 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_shared_by_what_cannot_be_told_apart() {
        let known = |mean, variance| Ranked { mean, precision: Some(Precision { variance, df: f64::INFINITY }) };
        let found = ranks(&[known(0.0, 0.01), known(0.0, 0.01), known(5.0, 0.01)], &Options::default());
        assert_eq!((found[0].lo, found[0].hi), (2, 3));
        assert_eq!((found[2].lo, found[2].hi), (1, 1));
        for (rank, want) in found.iter().zip([2.5, 2.5, 1.0]) {
            assert!((rank.expected.unwrap() - want).abs() < 1e-12, "{rank:?}");
        }
        let unknown = Ranked { mean: 1.0, precision: None };
        let found = ranks(&[unknown, known(0.0, 1.0)], &Options::default());
        assert_eq!(found[1], Rank { expected: None, lo: 1, hi: 2 });
        assert_eq!(ranks(&[], &Options::default()), []);
    }
}
