//! Additivity of the map: is the gain of a cell the sum of what its intermediate and its target give?
//!
//! delta = mu + a (intermediate) + b (target) + residual by least squares, a and b summing to zero. Choshen et al. 2022
//! found gains close to additive: then "the best for my target" is simply "the best overall".
//! References: `statsmodels.ols`; Tukey 1949 (one degree of freedom for non-additivity).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::moments::mean;
use crate::special::f_sf;

/// Fewest intermediates and targets.
// Two rows or columns make a product of effects indistinguishable from their sum.
const FEWEST: usize = 3;

/// Sums of squares up to this are rounding.
// Deltas are points, so sums of squares that mean something are larger by many orders.
const NOTHING: f64 = 1e-12;

/// The additive model of a map of deltas. Sums of squares in points squared; `None` is undefined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Additivity {
    /// Cells with a delta.
    pub n: usize,
    /// Level of the map, in points.
    pub mu: f64,
    /// Effect of each intermediate, in points; the effects sum to 0.
    pub intermediate: BTreeMap<String, f64>,
    /// Effect of each target, in points; the effects sum to 0.
    pub task: BTreeMap<String, f64>,
    /// Sum of squares about the mean delta.
    pub ss_total: f64,
    /// Increase of the residual without intermediates.
    pub ss_intermediate: f64,
    /// Increase of the residual without targets.
    pub ss_task: f64,
    /// Residual of the model.
    pub ss_residual: f64,
    /// Cells less parameters.
    pub df_residual: usize,
    /// Share of the total that the model explains.
    pub r2: f64,
    /// How much of the rest is seed noise.
    #[serde(flatten)]
    pub noise: Noise,
    /// Tukey's test that the two effects do not multiply.
    #[serde(flatten)]
    pub tukey: Tukey,
}

/// Seed noise inside the residual of the additive model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Mean squared standard error of the cells' own means.
    #[serde(rename = "noise_var")]
    pub variance: Option<f64>,
    /// Residual variance beyond that noise.
    #[serde(rename = "interaction_var")]
    pub interaction: Option<f64>,
    /// Share of the residual variance that seed noise explains, at most 1.
    #[serde(rename = "noise_share_of_residual")]
    pub share: Option<f64>,
}

/// Tukey's one degree of freedom for non-additivity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tukey {
    /// F on 1 and `df` degrees of freedom.
    #[serde(rename = "tukey_F")]
    pub f: Option<f64>,
    /// Denominator degrees of freedom.
    #[serde(rename = "tukey_df")]
    pub df: Option<usize>,
    /// p-value.
    #[serde(rename = "tukey_p")]
    pub p: Option<f64>,
}

/// Fits the additive model to `deltas` `[intermediates][targets]`; `noise` holds the squared standard error of each
/// cell's mean. Rows and columns without a delta are left out. `None` with fewer than 3 intermediates or targets, too few
/// cells, no variance, or cells that fall into parts without a common row or column.
pub(crate) fn additivity(
    deltas: &[Vec<Option<f64>>],
    noise: &[Vec<Option<f64>>],
    intermediates: &[String],
    targets: &[String],
) -> Option<Additivity> {
    let map = KnownCells::new(deltas, intermediates.len(), targets.len());
    let (rows, columns, n) = (map.rows.len(), map.columns.len(), map.cells.len());
    let values: Vec<f64> = map.cells.iter().map(|cell| cell.value).collect();
    let ss_total = squares_about_mean(&values);
    // At least two residual degrees of freedom: one for the residual and one for Tukey's test.
    if rows < FEWEST || columns < FEWEST || n < rows + columns + 1 || ss_total <= NOTHING {
        return None;
    }
    let fit = map.fit(&values)?;
    let ss_residual = squares(&fit.residuals);
    let df_residual = n + 1 - rows - columns;
    let variance = ss_residual / df_residual as f64;
    let noise_var = map.mean_noise(noise);
    let tukey = map.tukey(&fit, df_residual);
    let effects = |kept: &[usize], names: &[String], effects: &[f64]| {
        kept.iter().zip(effects).map(|(&index, effect)| (names[index].clone(), *effect)).collect()
    };
    Some(Additivity {
        n,
        mu: fit.mu,
        intermediate: effects(&map.rows, intermediates, &fit.rows),
        task: effects(&map.columns, targets, &fit.columns),
        ss_total,
        // Type II sums of squares: each factor beyond the other, which is what remains meaningful with missing cells.
        ss_intermediate: map.squares_within(|cell| cell.column) - ss_residual,
        ss_task: map.squares_within(|cell| cell.row) - ss_residual,
        ss_residual,
        df_residual,
        r2: 1.0 - ss_residual / ss_total,
        noise: Noise {
            variance: noise_var,
            interaction: noise_var.map(|noise| (variance - noise).max(0.0)),
            share: noise_var.filter(|_| variance > NOTHING).map(|noise| (noise / variance).min(1.0)),
        },
        tukey: Tukey {
            f: tukey.map(|(f, _)| f),
            df: tukey.map(|(_, df)| df),
            p: tukey.map(|(f, df)| f_sf(f, 1.0, df as f64)),
        },
    })
}

/// A cell with a delta; its row and column count only those that have one.
#[derive(Debug, Clone, Copy)]
struct KnownCell {
    row: usize,
    column: usize,
    value: f64,
}

/// The cells of a map that have a delta.
struct KnownCells {
    /// Row numbers in the full map.
    rows: Vec<usize>,
    /// Column numbers in the full map.
    columns: Vec<usize>,
    cells: Vec<KnownCell>,
}

/// The additive model, fitted.
struct Fit {
    mu: f64,
    rows: Vec<f64>,
    columns: Vec<f64>,
    /// In the order of the cells.
    residuals: Vec<f64>,
}

impl KnownCells {
    fn new(deltas: &[Vec<Option<f64>>], rows: usize, columns: usize) -> Self {
        let rows: Vec<usize> = (0..rows).filter(|&row| deltas[row].iter().any(Option::is_some)).collect();
        let columns: Vec<usize> =
            (0..columns).filter(|&column| deltas.iter().any(|row| row[column].is_some())).collect();
        let mut cells = Vec::new();
        for (row, &of_row) in rows.iter().enumerate() {
            for (column, &of_column) in columns.iter().enumerate() {
                cells.extend(deltas[of_row][of_column].map(|value| KnownCell { row, column, value }));
            }
        }
        Self { rows, columns, cells }
    }

    /// Least squares by the normal equations. The sums of the row and of the column effects enter as two more
    /// observations of 0, which leaves the fit as it is and makes the solution unique. `None` if it is not unique.
    fn fit(&self, values: &[f64]) -> Option<Fit> {
        let (rows, columns) = (self.rows.len(), self.columns.len());
        let size = 1 + rows + columns;
        let (mut normal, mut right) = (vec![vec![0.0; size]; size], vec![0.0; size]);
        for (cell, value) in self.cells.iter().zip(values) {
            // The three columns of the design that are 1 for this cell: level, row effect, column effect.
            let entries = [0, 1 + cell.row, 1 + rows + cell.column];
            entries.iter().for_each(|&i| entries.iter().for_each(|&j| normal[i][j] += 1.0));
            entries.iter().for_each(|&i| right[i] += value);
        }
        for effects in [1..1 + rows, 1 + rows..size] {
            effects.clone().for_each(|i| effects.clone().for_each(|j| normal[i][j] += 1.0));
        }
        let solution = solve(normal, right)?;
        let (mu, effects) = solution.split_first()?;
        let (row_effects, column_effects) = effects.split_at(rows);
        let fitted = |cell: &KnownCell| mu + row_effects[cell.row] + column_effects[cell.column];
        let residuals = self.cells.iter().zip(values).map(|(cell, value)| value - fitted(cell)).collect();
        Some(Fit { mu: *mu, rows: row_effects.to_vec(), columns: column_effects.to_vec(), residuals })
    }

    /// F and its denominator df: what the product of the two effects adds to the fit. Both sides are cleared of the
    /// additive model first (Frisch and Waugh), so that one coefficient is left.
    fn tukey(&self, fit: &Fit, df_residual: usize) -> Option<(f64, usize)> {
        let df = df_residual.checked_sub(1).filter(|df| *df > 0)?;
        let products: Vec<f64> = self.cells.iter().map(|cell| fit.rows[cell.row] * fit.columns[cell.column]).collect();
        let product = self.fit(&products)?.residuals;
        let length = squares(&product);
        // A factor without any effect makes every product 0, and nothing is left to test.
        if length <= NOTHING {
            return None;
        }
        let slope = product.iter().zip(&fit.residuals).map(|(x, y)| x * y).sum::<f64>() / length;
        let rest: f64 = product.iter().zip(&fit.residuals).map(|(x, y)| (y - slope * x).powi(2)).sum();
        (rest > NOTHING).then(|| (slope * slope * length * df as f64 / rest, df))
    }

    /// Sum of squares about the means of groups of cells: what a model of one factor leaves.
    fn squares_within(&self, group: impl Fn(&KnownCell) -> usize) -> f64 {
        let mut groups = vec![Vec::new(); self.rows.len().max(self.columns.len())];
        self.cells.iter().for_each(|cell| groups[group(cell)].push(cell.value));
        groups.iter().map(|values| squares_about_mean(values)).sum()
    }

    fn mean_noise(&self, noise: &[Vec<Option<f64>>]) -> Option<f64> {
        let of_cell = |cell: &KnownCell| noise[self.rows[cell.row]][self.columns[cell.column]];
        let known: Vec<f64> = self.cells.iter().filter_map(of_cell).collect();
        (!known.is_empty()).then(|| mean(&known))
    }
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

fn squares_about_mean(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean) * (value - mean)).sum()
}

/// Solves a symmetric positive definite system by Cholesky's method; `None` if a pivot vanishes.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    // A few dozen unknowns do not justify a linear-algebra crate.
    let size = right.len();
    for j in 0..size {
        let before = |a: &[f64], b: &[f64]| a[..j].iter().zip(&b[..j]).map(|(x, y)| x * y).sum::<f64>();
        let scale = matrix[j][j];
        let pivot = scale - before(&matrix[j], &matrix[j]);
        // A pivot that vanishes beside its diagonal means that rows and columns fall into parts whose levels are free.
        if pivot <= 1e-10 * scale {
            return None;
        }
        matrix[j][j] = pivot.sqrt();
        for i in j + 1..size {
            matrix[i][j] = (matrix[i][j] - before(&matrix[i], &matrix[j])) / matrix[j][j];
        }
        right[j] = (right[j] - before(&matrix[j], &right)) / matrix[j][j];
    }
    for j in (0..size).rev() {
        let after: f64 = (j + 1..size).map(|i| matrix[i][j] * right[i]).sum();
        right[j] = (right[j] - after) / matrix[j][j];
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|i| format!("{prefix}{i}")).collect()
    }

    fn close(found: f64, want: f64) {
        assert!((found - want).abs() < 1e-9, "{found} vs {want}");
    }

    /// Reference: statsmodels 0.15.0 `ols`, printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn four_by_three_by_statsmodels() {
        let deltas = [[1.2, 0.3, 2.1], [0.4, -0.5, 0.9], [2.0, 1.9, 4.0], [-1.0, -0.2, -2.2]];
        let deltas = deltas.map(|row| row.map(Some).to_vec());
        let noise = vec![vec![Some(0.5); 3]; 4];
        let found = additivity(&deltas, &noise, &names("i", 4), &names("t", 3)).unwrap();
        close(found.mu, 0.741_666_666_7);
        let a = [0.458_333_333_3, -0.475, 1.891_666_666_7, -1.875];
        let b = [-0.091_666_666_7, -0.366_666_666_7, 0.458_333_333_3];
        found.intermediate.values().zip(a).for_each(|(found, want)| close(*found, want));
        found.task.values().zip(b).for_each(|(found, want)| close(*found, want));
        for (found, want) in [
            (found.ss_intermediate, 22.589_166_666_7),
            (found.ss_task, 1.411_666_666_7),
            (found.ss_residual, 6.048_333_333_3),
            (found.r2, 0.798_718_766_5),
            (found.tukey.f.unwrap(), 14.574_300_575_2),
            (found.tukey.p.unwrap(), 0.012_403_077_4),
            (found.noise.share.unwrap(), 0.5 / (6.048_333_333_3 / 6.0)),
        ] {
            close(found, want);
        }
        assert_eq!((found.tukey.df, found.df_residual, found.n), (Some(5), 6, 12));
    }

    #[test]
    fn maps_that_carry_no_model_have_none() {
        let (three, no_noise) = (names("x", 3), vec![vec![None; 3]; 3]);
        let flat = vec![vec![Some(0.1 + 0.2); 3]; 3];
        assert_eq!(additivity(&flat, &no_noise, &three, &three), None);
        let mut poor = vec![vec![Some(1.0), Some(2.0), Some(4.0)]; 3];
        poor[0] = vec![None; 3];
        assert_eq!(additivity(&poor, &no_noise, &three, &three), None, "two intermediates");
        // Two blocks of 3 x 3 that share nothing: their levels cannot be compared.
        let block = |row: usize, column: usize| (row / 3 == column / 3).then_some((row * column % 5) as f64);
        let parted: Vec<Vec<Option<f64>>> = (0..6).map(|r| (0..6).map(|c| block(r, c)).collect()).collect();
        assert_eq!(additivity(&parted, &vec![vec![None; 6]; 6], &names("i", 6), &names("t", 6)), None);
    }

    #[test]
    fn exactly_additive_maps_leave_nothing_to_test() {
        let deltas: Vec<Vec<Option<f64>>> =
            (0..4).map(|i| (0..4).map(|j| Some(f64::from(i * 2 + j))).collect()).collect();
        let found = additivity(&deltas, &vec![vec![None; 4]; 4], &names("i", 4), &names("t", 4)).unwrap();
        close(found.r2, 1.0);
        assert_eq!((found.tukey.f, found.noise.variance, found.noise.share), (None, None, None));
    }
}
