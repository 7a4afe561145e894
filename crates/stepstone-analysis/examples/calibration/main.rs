//! Do intervals cover and tests reject as often as they say? Prints the tables of docs/statistics.md.
//!
//! Usage: cargo run --release -p stepstone-analysis --example calibration [STUDIES]

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod simulate;

use simulate::{Rate, correlations, deltas};

/// Fewer than in the test, because the probabilities of being best take most of the time.
const TARGETS: usize = 4;

fn main() {
    let studies = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(2_000);
    println!("{studies} simulated studies each, level 0.05\n");
    println!(
        "| n, n0 | covers | Welch covers | rejects null | Welch rejects | power at 3 sd | Welch power | Holm family-wise | average covers | average rejects |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for (n, n0) in [(3, 3), (3, 10), (5, 5), (10, 10)] {
        let found = deltas(studies, TARGETS, n, n0);
        let rates = [
            found.covered,
            found.welch_covered,
            found.rejected,
            found.welch_rejected,
            found.power,
            found.welch_power,
            found.family_wise,
            found.average_covered,
            found.average_rejected,
        ];
        println!("| {n}, {n0} | {} |", shares(&rates));
    }
    println!();
    println!(
        "| restarts, ICC | rows (naive) | means | permutation | max-T family-wise | within | partial | interval of means covers 0 | bootstrap covers 0 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (n, icc) in [(3, 0.0), (3, 0.5), (3, 0.85), (5, 0.85), (10, 0.85)] {
        let found = correlations(studies, n, icc, 999, 500);
        let rates = [
            found.rows,
            found.means,
            found.permutation,
            found.family_wise,
            found.within,
            found.partial,
            found.covered,
            found.bootstrap_covered,
        ];
        println!("| {n}, {icc} | {} |", shares(&rates));
    }
}

fn shares(rates: &[Rate]) -> String {
    rates.iter().map(|rate| format!("{:.3}", rate.share())).collect::<Vec<_>>().join(" | ")
}
