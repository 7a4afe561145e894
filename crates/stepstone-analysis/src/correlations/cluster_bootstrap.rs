//! The cluster bootstrap of a rank correlation: intermediates are drawn with replacement, each with all its restarts.
//!
//! In a resample intermediate c counts w_c times. Twice the centred average rank of a row there is a weighted sum over
//! intermediates, so that nothing is sorted again, and everything below is a whole number, hence exact in any order.
//! Two ways lead to the same numbers: [`direct`] ranks every resample by walking the sorted columns, which is cheap with
//! few rows; [`cubic`] collects the rows once into a cubic form of the weights, which is cheap with many.

mod cubic;
mod direct;
mod rho;

use rayon::prelude::*;

use super::frame::Frame;

/// Fewest resamples with a correlation for an interval.
// The 2.5 % quantile of fewer values rests on the two or three smallest and says little.
const FEWEST: usize = 100;

/// Pairs whose resampled correlations are held at a time.
// 512 pairs x 2,000 resamples x 8 bytes = about 8 MiB, however many pairs there are.
const BLOCK: usize = 512;

/// Ends of the 1 - `alpha` percentile intervals of rho for the pairs of a frame over the resamples `weights`
/// `[resamples, k]`; `None` where fewer than 100 resamples have a correlation. With 11 clusters such intervals are too
/// narrow (Cameron, Gelbach and Miller 2008): they are shown as a picture and used for no test.
pub(super) fn intervals(frame: &Frame, weights: &[u32], alpha: f64) -> Vec<Option<(f64, f64)>> {
    // A frame without rows has no intermediates, and division by 0 would panic.
    let resamples = weights.len() / frame.k().max(1);
    let rhos = if cubic::pays(frame, resamples) { cubic::rhos } else { direct::rhos };
    let blocks = frame.pairs.chunks(BLOCK);
    blocks
        .flat_map(|pairs| {
            rhos(frame, pairs, weights).into_par_iter().map(|rhos| interval(rhos, alpha)).collect::<Vec<_>>()
        })
        .collect()
}

fn interval(mut rhos: Vec<f64>, alpha: f64) -> Option<(f64, f64)> {
    rhos.retain(|rho| !rho.is_nan());
    if rhos.len() < FEWEST {
        return None;
    }
    rhos.sort_unstable_by(f64::total_cmp);
    Some((quantile(&rhos, alpha / 2.0), quantile(&rhos, 1.0 - alpha / 2.0)))
}

/// Quantile of sorted values by linear interpolation (type 7 of Hyndman and Fan 1996, the default of NumPy and R).
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let place = p * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place as usize], sorted[(place as usize + 1).min(sorted.len() - 1)]);
    low + place.fract() * (high - low)
}

#[cfg(test)]
mod tests {
    use super::super::frame::group;
    use super::*;
    use crate::coefficient::spearman;
    use crate::observation::Role;
    use crate::rng::{SplitMix64, resample_weights};
    use crate::table::{ScoreColumn, ScoreRow, ScoreTable};

    /// Uneven clusters, and columns with many, few and no ties.
    fn table() -> ScoreTable {
        let mut rng = SplitMix64::new(5);
        let sizes = [3, 1, 4, 2, 3, 5];
        let rows = sizes
            .iter()
            .zip(0..)
            .flat_map(|(n, intermediate)| (0..*n).map(move |seed| ScoreRow { intermediate, seed }));
        let rows: Vec<ScoreRow> = rows.collect();
        let column = |(index, values)| ScoreColumn {
            task: format!("t{index}"),
            role: Role::Target,
            scores: rows.iter().map(|_| Some(f64::from(rng.below(values)))).collect(),
        };
        let columns = [(0, 2), (1, 6), (2, 1 << 30)].map(column).to_vec();
        ScoreTable { intermediates: (0..6).map(|i| i.to_string()).collect(), rows, columns }
    }

    /// The definition: all rows of the drawn intermediates, ranked anew.
    fn by_hand(table: &ScoreTable, (x, y): (usize, usize), weight: &[u32]) -> f64 {
        let drawn = |column: usize| -> Vec<f64> {
            let rows = table.rows.iter().zip(&table.columns[column].scores);
            rows.flat_map(|(row, score)| vec![score.unwrap(); weight[row.intermediate as usize] as usize]).collect()
        };
        spearman(&drawn(x), &drawn(y)).map_or(f64::NAN, |found| found.r)
    }

    #[test]
    fn both_ways_equal_ranking_every_resample() {
        let table = table();
        let pairs = [(0, 1), (0, 2), (1, 2)];
        let frame = &group(&table, &pairs)[0];
        let weights = resample_weights(1, 200, 6);
        let (direct, cubic) = (direct::rhos(frame, &frame.pairs, &weights), cubic::rhos(frame, &frame.pairs, &weights));
        for (pair, (direct, cubic)) in pairs.iter().zip(direct.iter().zip(&cubic)) {
            for (b, weight) in weights.chunks(6).enumerate() {
                let want = by_hand(&table, *pair, weight);
                assert!((direct[b] - want).abs() < 1e-14 || want.is_nan() && direct[b].is_nan(), "{pair:?} {weight:?}");
                assert_eq!(direct[b].to_bits(), cubic[b].to_bits(), "{pair:?} {weight:?}");
            }
        }
    }

    #[test]
    fn quantiles_are_of_type_7() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0, 8.0], 0.5), 3.0);
        assert_eq!((quantile(&[1.0, 2.0], 0.0), quantile(&[1.0, 2.0], 1.0)), (1.0, 2.0));
        assert_eq!(interval(vec![0.5; 99], 0.05), None);
        assert_eq!(interval(vec![0.5; 100], 0.05), Some((0.5, 0.5)));
    }
}
