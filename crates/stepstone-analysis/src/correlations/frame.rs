//! A frame: the pairs of columns that have both scores in the same rows, with everything that these pairs share.
//!
//! Pairs take pairwise complete rows. A whole grid is one frame; missing cells split it. Inside a frame no score is
//! missing, so each column is ranked once for all its pairs.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::coefficient::{Centred, Ranks};
use crate::moments::mean;
use crate::table::{ScoreColumn, ScoreTable};

/// The rows and columns that some pairs share.
pub(super) struct Frame {
    /// The intermediates with a row, as indices into [`ScoreTable::intermediates`]: `[k]`.
    pub(super) intermediates: Vec<u32>,
    /// The rows of each of them: `[k]`, back to back.
    pub(super) clusters: Vec<Range<usize>>,
    /// True if every intermediate has the same seeds.
    pub(super) balanced: bool,
    /// The columns that the pairs name.
    pub(super) columns: Vec<FrameColumn>,
    pub(super) pairs: Vec<FramePair>,
}

/// A pair of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramePair {
    /// Its place among all pairs.
    pub(super) index: usize,
    /// Index into [`Frame::columns`].
    pub(super) x: usize,
    /// Index into [`Frame::columns`].
    pub(super) y: usize,
}

/// A column over the rows of a frame.
pub(super) struct FrameColumn {
    /// Index into [`ScoreTable::columns`].
    pub(super) table_column: usize,
    /// Scores about their mean: `[rows]`.
    pub(super) centred: Centred,
    pub(super) ranks: Ranks,
    /// Scores about the mean of their intermediate: `[rows]`.
    pub(super) within: Centred,
    /// Ranks of the intermediates' means: `[k]`.
    pub(super) mean_ranks: Ranks,
}

impl Frame {
    pub(super) fn rows(&self) -> usize {
        self.clusters.last().map_or(0, |last| last.end)
    }

    /// Number of intermediates.
    pub(super) fn k(&self) -> usize {
        self.clusters.len()
    }

    fn new(table: &ScoreTable, rows: &[usize], pairs: &[TablePair]) -> Self {
        // A column is ranked once per frame, however many pairs name it.
        let mut named: Vec<usize> = pairs.iter().flat_map(|pair| [pair.x, pair.y]).collect();
        named.sort_unstable();
        named.dedup();
        let place = |column: usize| named.partition_point(|&other| other < column);
        let (intermediates, clusters) = clusters(table, rows);
        let seeds = |cluster: &Range<usize>| rows[cluster.clone()].iter().map(|&row| table.rows[row].seed);
        // Only with equal seeds do rows of two intermediates correspond, so that whole blocks can be exchanged.
        let balanced = clusters.windows(2).all(|two| seeds(&two[0]).eq(seeds(&two[1])));
        let columns = named.iter().map(|&column| FrameColumn::new(table, column, rows, &clusters)).collect();
        let pairs =
            pairs.iter().map(|pair| FramePair { index: pair.index, x: place(pair.x), y: place(pair.y) }).collect();
        Self { intermediates, clusters, balanced, columns, pairs }
    }
}

impl FrameColumn {
    fn new(table: &ScoreTable, table_column: usize, rows: &[usize], clusters: &[Range<usize>]) -> Self {
        let all = &table.columns[table_column].scores;
        let scores: Vec<f64> = rows.iter().filter_map(|&row| all[row]).collect();
        let means: Vec<f64> = clusters.iter().map(|cluster| mean(&scores[cluster.clone()])).collect();
        let cluster_deviations = clusters.iter().zip(&means);
        let within =
            cluster_deviations.flat_map(|(rows, mean)| scores[rows.clone()].iter().map(move |score| score - mean));
        Self {
            table_column,
            centred: Centred::new(&scores),
            ranks: Ranks::new(&scores),
            within: Centred::from_deviations(within.collect()),
            mean_ranks: Ranks::new(&means.iter().copied().map(tied).collect::<Vec<_>>()),
        }
    }
}

/// Rounds a mean to 1e-9 points, so that means that are equal but for rounding tie.
pub(super) fn tied(mean: f64) -> f64 {
    // Means of equal scores in another order differ in the last bit, and ranks would make that a difference of one rank.
    (mean * 1e9).round() / 1e9
}

/// Splits rows, sorted by intermediate, at the intermediates.
fn clusters(table: &ScoreTable, rows: &[usize]) -> (Vec<u32>, Vec<Range<usize>>) {
    let (mut names, mut clusters, mut start) = (Vec::new(), Vec::new(), 0);
    for group in rows.chunk_by(|&a, &b| table.rows[a].intermediate == table.rows[b].intermediate) {
        names.push(table.rows[group[0]].intermediate);
        clusters.push(start..start + group.len());
        start += group.len();
    }
    (names, clusters)
}

/// A pair of table columns and its place among all pairs.
struct TablePair {
    index: usize,
    x: usize,
    y: usize,
}

/// The pattern of present scores of a column, one bit a row.
type Mask = Vec<u64>;

/// Groups pairs of table columns by their pairwise complete rows.
pub(super) fn group(table: &ScoreTable, pairs: &[(usize, usize)]) -> Vec<Frame> {
    let masks: Vec<Mask> = table.columns.iter().map(mask).collect();
    // Ordered, so that frames come in the same order in every run.
    let mut groups: BTreeMap<Mask, Vec<TablePair>> = BTreeMap::new();
    for (index, &(x, y)) in pairs.iter().enumerate() {
        let both: Mask = masks[x].iter().zip(&masks[y]).map(|(x, y)| x & y).collect();
        groups.entry(both).or_default().push(TablePair { index, x, y });
    }
    groups.iter().map(|(mask, pairs)| Frame::new(table, &present(mask, table.rows.len()), pairs)).collect()
}

fn mask(column: &ScoreColumn) -> Mask {
    let bits = |scores: &[Option<f64>]| {
        scores.iter().enumerate().fold(0, |bits, (row, score)| bits | u64::from(score.is_some()) << row)
    };
    column.scores.chunks(64).map(bits).collect()
}

fn present(mask: &Mask, rows: usize) -> Vec<usize> {
    (0..rows).filter(|row| mask[row / 64] >> (row % 64) & 1 == 1).collect()
}
