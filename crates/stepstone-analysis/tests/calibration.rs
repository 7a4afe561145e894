//! Intervals cover and tests reject as often as they say: a small form of examples/calibration, whose tables are in
//! docs/statistics.md.

#[path = "../examples/calibration/simulate.rs"]
mod simulate;

use simulate::{Rate, correlations, deltas};

#[track_caller]
fn within(rate: Rate, range: std::ops::RangeInclusive<f64>, what: &str) {
    assert!(
        range.contains(&rate.share()),
        "{what}: {:.4} ({} of {}) is not in {range:?}",
        rate.share(),
        rate.hits,
        rate.of
    );
}

/// The row "3, 3" of docs/statistics.md, with fewer studies.
#[test]
fn moderated_intervals_cover_at_three_against_three() {
    let found = deltas(500, 4, 3, 3);
    within(found.covered, 0.93..=0.96, "moderated intervals");
    within(found.welch_covered, 0.93..=0.98, "Welch intervals");
    // Over 500 studies a share of 0.05 has a standard error of 0.01.
    within(found.family_wise, 0.0..=0.07, "studies with a false alarm under Holm");
    within(found.average_covered, 0.93..=0.97, "average gains");
}

/// Effects of intermediates on all tasks are independent: every rejection is by chance.
#[test]
fn headline_correlations_keep_their_level_where_the_naive_test_does_not() {
    let found = correlations(500, 3, 0.85, 199, 0);
    within(found.means, 0.03..=0.07, "means");
    within(found.permutation, 0.03..=0.07, "cluster permutation");
    within(found.within, 0.03..=0.07, "within");
    within(found.covered, 0.93..=0.97, "interval of means");
    within(found.rows, 0.15..=0.30, "rows as if independent");
}
