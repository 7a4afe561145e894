//! Many rows: the sums of products of ranks become cubic forms of the weights.
//!
//! Let L_c(r) = (rows of c below r) - (rows of c above r), for a column and a row r. Twice the centred rank of r in a
//! resample is sum over c of w_c L_c(r). The sum of products of two columns' ranks is therefore the cubic form
//! sum over d, c, e of w_d w_c w_e T[d, c, e] with T[d, c, e] = sum over the rows r of d of L_c(r) L'_e(r). T is found
//! once for a pair; a resample then costs about k^3/6 products, however many rows there are.

use rayon::prelude::*;

use super::rho::rho;
use crate::coefficient::Ranks;
use crate::correlations::frame::{Frame, FramePair};

/// Resamples that are computed side by side.
const LANES: usize = 8;

/// True if this way takes fewer steps than walking the rows of every resample.
pub(super) fn pays(frame: &Frame, resamples: usize) -> bool {
    let (k, rows) = (frame.k(), frame.rows());
    // Counts are kept in 16 bits, which doubles the numbers per vector register.
    let fits = frame.clusters.iter().all(|cluster| i16::try_from(cluster.len()).is_ok());
    // The cubic form costs k^3/6 products a resample; walking the rows costs about three steps a row.
    fits && k * k * k / 6 * resamples + k * k * rows < 3 * rows * resamples
}

/// The correlation of each pair in each resample: `[pairs][resamples]`.
pub(super) fn rhos(frame: &Frame, pairs: &[FramePair], weights: &[u32]) -> Vec<Vec<f64>> {
    let k = frame.k();
    let offsets: Vec<Vec<i16>> = frame.columns.par_iter().map(|column| offsets(frame, &column.ranks)).collect();
    let weights: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
    let form = |x: usize, y: usize| Form::new(frame, &offsets[x], &offsets[y]).at_all(&weights);
    let squares: Vec<Vec<f64>> = (0..frame.columns.len()).into_par_iter().map(|column| form(column, column)).collect();
    let sizes: Vec<u64> = weights.chunks(k).map(|weight| rows(frame, weight)).collect();
    let of_pair = |pair: &FramePair| {
        let products = form(pair.x, pair.y);
        let at = |b: usize| rho(products[b], squares[pair.x][b], squares[pair.y][b], sizes[b]);
        (0..products.len()).map(at).collect()
    };
    pairs.par_iter().map(of_pair).collect()
}

fn rows(frame: &Frame, weight: &[f64]) -> u64 {
    frame.clusters.iter().zip(weight).map(|(cluster, w)| cluster.len() as u64 * *w as u64).sum()
}

/// L: `[k, rows]`.
fn offsets(frame: &Frame, column: &Ranks) -> Vec<i16> {
    let rows = frame.rows();
    let mut offsets = vec![0; frame.k() * rows];
    for (cluster, offsets) in frame.clusters.iter().zip(offsets.chunks_exact_mut(rows)) {
        let (mut below, mut start) = (0, 0);
        for &group in &column.groups {
            let members = &column.order[start..start + group as usize];
            let equal = members.iter().filter(|&&row| cluster.contains(&(row as usize))).count() as i32;
            let offset = (2 * below + equal - cluster.len() as i32) as i16;
            members.iter().for_each(|&row| offsets[row as usize] = offset);
            below += equal;
            start += group as usize;
        }
    }
    offsets
}

/// A cubic form of k weights: the coefficients of w_a w_b w_c for a <= b <= c, in this order.
struct Form {
    k: usize,
    coefficients: Vec<f64>,
}

impl Form {
    fn new(frame: &Frame, x: &[i16], y: &[i16]) -> Self {
        let k = frame.k();
        let cube = pulp::Arch::new().dispatch(
            #[inline(always)]
            || cube(frame, x, y),
        );
        let ascending = (0..k).flat_map(|a| (a..k).flat_map(move |b| (b..k).map(move |c| (a * k + b) * k + c)));
        Self { k, coefficients: ascending.map(|at| cube[at]).collect() }
    }

    /// The values at the weights `[resamples, k]`, eight resamples side by side.
    fn at_all(&self, weights: &[f64]) -> Vec<f64> {
        let k = self.k;
        let at_block = |block: &[f64]| {
            let lanes: Vec<[f64; LANES]> =
                // The last block may have fewer than eight resamples; its other lanes are zero and dropped below.
                (0..k).map(|c| std::array::from_fn(|lane| block.get(lane * k + c).copied().unwrap_or(0.0))).collect();
            let values = pulp::Arch::new().dispatch(
                #[inline(always)]
                || self.at(&lanes),
            );
            values.into_iter().take(block.len() / k)
        };
        weights.chunks(LANES * k).flat_map(at_block).collect()
    }

    /// The values at eight sets of weights, `[k]` lanes.
    #[inline(always)] // so that it is compiled for the instruction set of its caller
    fn at(&self, weights: &[[f64; LANES]]) -> [f64; LANES] {
        let mut rest = self.coefficients.as_slice();
        let mut values = [0.0; LANES];
        for a in 0..self.k {
            for b in a..self.k {
                let (row, after) = rest.split_at(self.k - b);
                rest = after;
                let mut inner = [0.0; LANES];
                for (coefficient, weight) in row.iter().zip(&weights[b..]) {
                    for lane in 0..LANES {
                        inner[lane] += coefficient * weight[lane];
                    }
                }
                for lane in 0..LANES {
                    values[lane] += weights[a][lane] * weights[b][lane] * inner[lane];
                }
            }
        }
        values
    }
}

/// T `[k, k, k]`, with the entries of equal weights summed where their indices ascend.
#[inline(always)] // so that it is compiled for the instruction set of its caller
fn cube(frame: &Frame, x: &[i16], y: &[i16]) -> Vec<f64> {
    let (k, strip) = (frame.k(), strip(frame));
    let mut cube = vec![0.0; k * k * k];
    for (d, cluster) in frame.clusters.iter().enumerate() {
        for (c, x) in x.chunks_exact(frame.rows()).enumerate() {
            for (e, y) in y.chunks_exact(frame.rows()).enumerate() {
                let [a, b, c] = sorted([d, c, e]);
                cube[(a * k + b) * k + c] += product(&x[cluster.clone()], &y[cluster.clone()], strip);
            }
        }
    }
    cube
}

fn sorted(mut indices: [usize; 3]) -> [usize; 3] {
    indices.sort_unstable();
    indices
}

/// Rows whose products of counts are summed in 32 bits.
fn strip(frame: &Frame) -> usize {
    let largest = frame.clusters.iter().map(ExactSizeIterator::len).max().unwrap_or(0).max(1);
    // A count is at most the size of its cluster, so the sum of this many products fits.
    i32::MAX as usize / (largest * largest)
}

/// Sum of products of counts, exact.
#[inline(always)] // so that it is compiled for the instruction set of its caller
fn product(x: &[i16], y: &[i16], strip: usize) -> f64 {
    let sum = |(x, y): (&[i16], &[i16])| x.iter().zip(y).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum::<i32>();
    x.chunks(strip).zip(y.chunks(strip)).map(sum).map(f64::from).sum()
}
