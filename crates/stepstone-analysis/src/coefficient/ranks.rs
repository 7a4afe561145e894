//! Average ranks, kept as whole numbers so that sums of them are exact.

/// The ranks of a column.
#[derive(Debug, Clone)]
pub(crate) struct Ranks {
    /// Row numbers by ascending value: `[rows]`.
    pub(crate) order: Vec<u32>,
    /// Lengths of the groups of equal values, in ascending order of the value.
    pub(crate) groups: Vec<u32>,
    /// Twice the average rank, less n + 1: whole numbers that sum to 0: `[rows]`.
    pub(crate) doubled: Vec<f64>,
    /// Sum of squares of `doubled`; 0 if the column is constant.
    pub(crate) squares: f64,
}

impl Ranks {
    pub(crate) fn new(values: &[f64]) -> Self {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| values[a as usize].total_cmp(&values[b as usize]).then(a.cmp(&b)));
        let groups: Vec<u32> =
            order.chunk_by(|&a, &b| values[a as usize] == values[b as usize]).map(|group| group.len() as u32).collect();
        let (mut doubled, mut below) = (vec![0.0; values.len()], 0);
        for &group in &groups {
            let rank = 2.0 * below as f64 + group as f64 - values.len() as f64;
            order[below..below + group as usize].iter().for_each(|&row| doubled[row as usize] = rank);
            below += group as usize;
        }
        // A sum of whole numbers below 2^53: exact in any order.
        let squares = doubled.iter().map(|rank| rank * rank).sum();
        Self { order, groups, doubled, squares }
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_their_rank() {
        // The average ranks 5.5, 3, 5.5, 4, 1.5 and 1.5 of six values, twice, less 7.
        assert_eq!(Ranks::new(&[3.0, 1.0, 3.0, 2.0, -0.0, 0.0]).doubled, [4.0, -1.0, 4.0, 1.0, -4.0, -4.0]);
        assert_eq!(Ranks::new(&[]).doubled, [0.0; 0]);
        let constant = Ranks::new(&[7.0; 4]);
        assert_eq!((constant.squares, constant.groups), (0.0, vec![4]));
    }
}
