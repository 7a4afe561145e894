//! Tests of the matrix products against their f64 definitions.

use super::*;
use crate::testing::random;

// Nothing, one row, rows that six does not divide, and more rows than one block (96) holds.
const SIZES: [usize; 7] = [0, 1, 7, 31, 64, 97, 131];

/// An f32 sum is off by at most depth * epsilon / 2 of the sum of its absolute terms. Twice that is allowed, because `want`
/// may be an f32 sum too; the 2 and the 1 cover the start and results near 0.
fn assert_near(got: &[f32], want: &[(f64, f64)], depth: usize, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, (w, magnitude))) in got.iter().zip(want).enumerate() {
        let bound = (depth + 2) as f64 * f64::from(f32::EPSILON) * (magnitude + 1.0);
        assert!((f64::from(*g) - w).abs() <= bound, "{what} element {i}: {g} and {w}");
    }
}

/// The definition, in f64: `start` plus the products of `term` over 0..depth; and the same of absolute values.
fn sum(depth: usize, start: f32, term: impl Fn(usize) -> (f32, f32)) -> (f64, f64) {
    (0..depth).map(&term).fold((f64::from(start), f64::from(start.abs())), |(s, m), (a, b)| {
        let p = f64::from(a) * f64::from(b);
        (s + p, m + p.abs())
    })
}

#[test]
fn the_three_products_equal_their_definitions_at_all_sizes_and_thread_counts() {
    // Without vectors products go through another crate, whose bits are its own.
    let sets = InstructionSet::available().into_iter().filter(|set| set.lanes() > 1);
    let pools = sets.flat_map(|set| [1, 2, 8].map(|n| Threads::with_instructions(n, set).unwrap()));
    let pools: Vec<Threads> = pools.collect();
    for rows in SIZES {
        for (inputs, outputs) in [(1, 1), (7, 31), (31, 7), (64, 129), (130, 3)] {
            let shape = Shape { rows, inputs, outputs };
            let (x, w, b) = (random(1, rows * inputs), random(2, inputs * outputs), random(3, outputs));
            let dy = random(4, rows * outputs);
            let mut first: Option<Vec<Vec<f32>>> = None;
            for threads in &pools {
                let (mut y, mut dx) = (vec![9.0; rows * outputs], vec![9.0; rows * inputs]);
                let (mut dx_more, mut dw, mut db) = (x.clone(), w.clone(), b.clone());
                forward(threads, shape, &x, &w, Some(&b), &mut y);
                data_gradient(threads, shape, &dy, &w, Write::Overwrite, &mut dx);
                data_gradient(threads, shape, &dy, &w, Write::Accumulate, &mut dx_more);
                let mut dw_alone = vec![9.0; w.len()];
                weight_gradient(threads, shape, &dy, &x, Write::Overwrite, &mut dw_alone, &mut vec![0.0; outputs]);
                let mut dw_from_zero = vec![0.0; w.len()];
                weight_gradient(threads, shape, &dy, &x, Write::Accumulate, &mut dw_from_zero, &mut vec![0.0; outputs]);
                assert_eq!(dw_alone, dw_from_zero, "overwritten, and added to zeros: {shape:?}");
                weight_gradient(threads, shape, &dy, &x, Write::Accumulate, &mut dw, &mut db);
                let all = vec![y, dx, dx_more, dw, db];
                assert!(first.get_or_insert_with(|| all.clone()) == &all, "bits of {shape:?}");
            }
            let got = first.expect("an instruction set with vectors");
            let index = |n: usize, columns: usize| (n / columns, n % columns);
            let want_y = (0..rows * outputs).map(|n| {
                let (t, j) = index(n, outputs);
                sum(inputs, b[j], |c| (x[t * inputs + c], w[j * inputs + c]))
            });
            assert_near(&got[0], &want_y.collect::<Vec<_>>(), inputs, "forward");
            for (got, start) in [(&got[1], None), (&got[2], Some(&x))] {
                let want = (0..rows * inputs).map(|n| {
                    let (t, c) = index(n, inputs);
                    sum(outputs, start.map_or(0.0, |s| s[n]), |j| (dy[t * outputs + j], w[j * inputs + c]))
                });
                assert_near(got, &want.collect::<Vec<_>>(), outputs, "data gradient");
            }
            let want_dw = (0..outputs * inputs).map(|n| {
                let (j, c) = index(n, inputs);
                sum(rows, w[n], |t| (dy[t * outputs + j], x[t * inputs + c]))
            });
            assert_near(&got[3], &want_dw.collect::<Vec<_>>(), rows, "weight gradient");
            let want_db = (0..outputs).map(|j| sum(rows, b[j], |t| (dy[t * outputs + j], 1.0)));
            assert_near(&got[4], &want_db.collect::<Vec<_>>(), rows, "bias gradient");
        }
    }
}

#[test]
fn the_gelu_epilogue_equals_gelu_of_the_product() {
    let threads = Threads::new(2).unwrap();
    for rows in SIZES {
        let shape = Shape { rows, inputs: 31, outputs: 97 };
        let (x, w, b) = (random(1, rows * 31), random(2, 31 * 97), random(3, 97));
        let (mut plain, mut y, mut derivative) = (vec![0.0; rows * 97], vec![0.0; rows * 97], vec![0.0; rows * 97]);
        forward(&threads, shape, &x, &w, Some(&b), &mut plain);
        forward_gelu(&threads, shape, &x, &w, &b, Some(&mut derivative), &mut y);
        for i in 0..plain.len() {
            assert_eq!((y[i], derivative[i]), gelu::gelu(plain[i]), "rows {rows} element {i}");
        }
        let mut alone = vec![0.0; rows * 97];
        forward_gelu(&threads, shape, &x, &w, &b, None, &mut alone);
        assert_eq!(alone, y, "rows {rows}");
    }
}

/// The two paths differ by the order of their sums alone: each may be off by depth * epsilon / 2 of the absolute terms.
#[test]
fn portable_products_equal_those_of_tiles() {
    let threads = Threads::new(2).unwrap();
    let absolute = |x: &[f32]| x.iter().map(|x| x.abs()).collect::<Vec<f32>>();
    for rows in SIZES {
        for (columns, depth) in [(1, 1), (7, 31), (31, 7), (64, 129), (130, 3)] {
            let (a, b, start) = (random(1, rows * depth), random(2, depth * columns), random(3, rows * columns));
            let (sizes_a, sizes_b) = (absolute(&a), absolute(&b));
            for (by_columns, transposed, write) in
                (0..8).map(|i| (i & 1 > 0, i & 2 > 0, [Write::Overwrite, Write::Accumulate][i / 4]))
            {
                let run = |path: Path, start: &[f32], a: &[f32], b: &[f32]| {
                    let mut all_sums = vec![0.5; rows];
                    let right = if transposed { Right::Columns(b) } else { Right::Rows(b) };
                    let mut c = start.to_vec();
                    let mut sums = &mut all_sums[..];
                    let items = blocks(&threads, &mut c, columns).into_iter().map(|(first, c)| {
                        let sums = sums.split_off_mut(..c.len() / columns).unwrap();
                        let left = if by_columns {
                            Left::Columns { data: &a[first..], stride: rows, sums }
                        } else {
                            Left::Rows(&a[first * depth..])
                        };
                        Item { left, c, extra: () }
                    });
                    let items = items.collect();
                    Product { right, depth, columns, write }.run(&threads, path, items, |_, ()| ());
                    (c, all_sums)
                };
                let (sizes, _) = run(Path::Tiles, &absolute(&start), &sizes_a, &sizes_b);
                let (tiles, sums) = run(Path::Tiles, &start, &a, &b);
                let (portable, portable_sums) = run(Path::Portable, &start, &a, &b);
                let sizes = sizes.into_iter().map(f64::from);
                let tiles: Vec<(f64, f64)> = tiles.into_iter().map(f64::from).zip(sizes).collect();
                let what = format!("{rows} x {columns} over {depth}, {by_columns} {transposed} {write:?}");
                assert_near(&portable, &tiles, depth, &what);
                assert_eq!(portable_sums, sums, "{what}: sums over depth, in the same order");
            }
        }
    }
}

/// Other parts would give other bits, and with them other scores under the same name.
#[test]
fn bias_gradients_are_sums_over_parts_of_64_rows_added_in_order() {
    let threads = Threads::new(2).unwrap();
    for (rows, outputs) in [(64, 48), (65, 7), (131, 97), (200, 96)] {
        let shape = Shape { rows, inputs: 3, outputs };
        let (x, dy) = (random(1, rows * 3), random(4, rows * outputs));
        let (mut dw, mut db) = (vec![0.0; 3 * outputs], vec![0.5; outputs]);
        weight_gradient(&threads, shape, &dy, &x, Write::Overwrite, &mut dw, &mut db);
        for j in 0..outputs {
            let sum = |part: &[f32]| part.chunks(outputs).map(|row| row[j]).sum::<f32>();
            let want = dy.chunks(64 * outputs).map(sum).fold(0.5, |total, part| total + part);
            assert_eq!(db[j], want, "output {j} of {shape:?}");
        }
    }
}
