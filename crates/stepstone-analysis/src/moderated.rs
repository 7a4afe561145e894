//! Moderated variances: each arm's variance shrunk to the prior of its task.
//!
//! Three restarts say little about one arm's variance, but variances of one task are similar across start points. This
//! is Smyth's (2004) empirical Bayes with the task as a factor for the log variance; the same method in R is
//! `limma::squeezeVar` with a factor covariate. It assumes scaled inverse chi-square spread of the variances inside a
//! task and one prior df for the map.

use crate::moments::{mean, median, variance};
use crate::options::Method;
use crate::special::{digamma, inverse_trigamma, trigamma};

/// Variance of one score of an arm and its degrees of freedom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// Points squared.
    pub variance: f64,
    /// Degrees of freedom; may be infinite.
    pub df: f64,
}

/// The variances of one task's arms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskArms {
    /// Smallest step of the score in points, 0 if unknown: rounding alone gives the variance step^2 / 12.
    pub step: f64,
    /// Number of clean scores and their sample variance, for the arms with at least two.
    pub arms: Vec<(usize, f64)>,
}

impl TaskArms {
    /// Collects the arms that have at least two clean scores.
    pub(crate) fn new<'a>(step: f64, clean: impl Iterator<Item = &'a [f64]>) -> Self {
        Self { step, arms: clean.filter_map(|scores| Some((scores.len(), variance(scores)?))).collect() }
    }
}

/// The prior of one map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Prior {
    /// Prior degrees of freedom d0: 0 = no shrinkage, infinite = one variance per task.
    pub df: f64,
    /// Arms that entered the fit.
    pub fitted: usize,
    tasks: Vec<TaskPrior>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct TaskPrior {
    floor: f64,
    /// Prior variance s0^2 and D, the degrees of freedom of all fitted arms of the task.
    prior: Option<(f64, f64)>,
}

/// One arm in the fit: its degrees of freedom and floored variance.
type Fitted = (f64, f64);

/// Fits the prior of a map: moments of the log variances, tasks as a factor. Source: Smyth 2004, section 6.
pub(crate) fn fit(tasks: &[TaskArms]) -> Prior {
    let floors: Vec<f64> = tasks.iter().map(floor).collect();
    let fitted: Vec<Vec<Fitted>> = tasks.iter().zip(&floors).map(|(task, &floor)| floored(task, floor)).collect();
    let df = prior_df(&fitted);
    let task_prior = |(arms, &floor): (&Vec<Fitted>, &f64)| TaskPrior { floor, prior: task_variance(arms, df) };
    Prior { df, fitted: fitted.iter().map(Vec::len).sum(), tasks: fitted.iter().zip(&floors).map(task_prior).collect() }
}

fn floor(task: &TaskArms) -> f64 {
    let positive: Vec<f64> = task.arms.iter().map(|arm| arm.1).filter(|s2| *s2 > 0.0).collect();
    // Over the positive variances: arms whose scores tie by chance would pull the median to 0.
    // 1 % keeps ln s^2 from running off to minus infinity for an arm whose scores happen to be equal.
    let share = median(&positive).map_or(0.0, |median| 0.01 * median);
    // A score that is rounded to steps of `step` has at least the variance of a uniform error, step^2 / 12.
    share.max(task.step * task.step / 12.0)
}

/// The task's arms with floored variances; empty if the floor is 0, because then all arms are constant.
fn floored(task: &TaskArms, floor: f64) -> Vec<Fitted> {
    if floor <= 0.0 {
        return Vec::new();
    }
    task.arms.iter().map(|&(n, s2)| (n as f64 - 1.0, s2.max(floor))).collect()
}

/// ln s^2 with the bias of ln chi-square removed.
fn unbiased_log(&(d, s2): &Fitted) -> f64 {
    // E[ln chi^2_d] = digamma(d/2) + ln 2: with few degrees of freedom ln s^2 lies far below ln sigma^2, and arms of
    // different sizes would seem to differ.
    s2.ln() - digamma(d / 2.0) + (d / 2.0).ln()
}

fn mean_log(arms: &[Fitted]) -> f64 {
    mean(&arms.iter().map(unbiased_log).collect::<Vec<_>>())
}

fn prior_df(tasks: &[Vec<Fitted>]) -> f64 {
    let tasks: Vec<&Vec<Fitted>> = tasks.iter().filter(|arms| !arms.is_empty()).collect();
    let arms: usize = tasks.iter().map(|arms| arms.len()).sum();
    // One mean is fitted per task. Fewer than three arms beyond that say nothing about the spread of variances, and no
    // shrinkage is the cautious answer.
    if arms < tasks.len() + 3 {
        return 0.0;
    }
    let (mut squares, mut sampling) = (0.0, 0.0);
    for arms in &tasks {
        let center = mean_log(arms);
        squares += arms.iter().map(|arm| (unbiased_log(arm) - center).powi(2)).sum::<f64>();
        sampling += arms.iter().map(|arm| trigamma(arm.0 / 2.0)).sum::<f64>();
    }
    // Variances spread by sampling alone, trigamma(d/2) in the log; only what exceeds it is true spread.
    let excess = squares / (arms - tasks.len()) as f64 - sampling / arms as f64;
    if excess > 0.0 { 2.0 * inverse_trigamma(excess) } else { f64::INFINITY }
}

fn task_variance(arms: &[Fitted], prior_df: f64) -> Option<(f64, f64)> {
    if arms.is_empty() {
        return None;
    }
    let df: f64 = arms.iter().map(|arm| arm.0).sum();
    // At both ends the formula below has no finite value; the pooled variance takes its place.
    let variance = if prior_df == 0.0 || prior_df.is_infinite() {
        arms.iter().map(|(d, s2)| d * s2).sum::<f64>() / df
    } else {
        (mean_log(arms) + digamma(prior_df / 2.0) - (prior_df / 2.0).ln()).exp()
    };
    Some((variance, df))
}

impl Prior {
    /// Prior standard deviation of a task in points; `None` for a task without a prior.
    pub(crate) fn sd(&self, task: usize) -> Option<f64> {
        self.tasks[task].prior.map(|(variance, _)| variance.sqrt())
    }

    /// The spread of one arm. `None` where nothing is known about it: a constant task, or one score without a prior.
    ///
    /// An arm with degenerate runs is a mixture and is not shrunk. Under [`Method::Welch`] every arm stands alone.
    pub(crate) fn spread(&self, task: usize, scores: &[f64], mixture: bool, method: Method) -> Option<Spread> {
        let own = variance(scores);
        let d = scores.len() as f64 - 1.0;
        match method {
            Method::Welch => own.map(|variance| Spread { variance, df: d }),
            Method::Moderated if mixture => {
                // Shrinking a mixture of learnt and failed runs to the spread of learnt ones would claim a precision it
                // lacks.
                let variance = own?.max(self.tasks[task].floor);
                (variance > 0.0).then_some(Spread { variance, df: d })
            }
            Method::Moderated => self.shrink(task, scores.len(), own),
        }
    }

    /// Shrinks the sample variance of a clean arm with `n` scores.
    fn shrink(&self, task: usize, n: usize, own: Option<f64>) -> Option<Spread> {
        let TaskPrior { floor, prior } = self.tasks[task];
        let (prior_variance, task_df) = prior?;
        let d = n as f64 - 1.0;
        let Some(own) = own.map(|s2| s2.max(floor)) else {
            // One score: the prior alone, or without shrinkage the pooled variance.
            // The prior cannot be known better than the arms that it was learnt from, hence the bound `task_df`.
            let df = if self.df == 0.0 { task_df } else { self.df.min(task_df) };
            return (n == 1).then_some(Spread { variance: prior_variance, df });
        };
        if self.df.is_infinite() {
            return Some(Spread { variance: prior_variance, df: task_df });
        }
        if self.df == 0.0 {
            return Some(Spread { variance: own, df: d });
        }
        // The posterior mean of sigma^2 under a scaled inverse chi-square prior.
        let variance = (self.df * prior_variance + d * own) / (self.df + d);
        Some(Spread { variance, df: (self.df + d).min(task_df) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::{Precision, compare};

    fn close(got: f64, want: f64) {
        assert!((got - want).abs() < 1e-9, "{got} vs {want}");
    }

    fn tasks(a: &[f64], b: &[f64]) -> Vec<TaskArms> {
        [a, b].map(|s2| TaskArms { step: 0.0, arms: s2.iter().map(|&s2| (3, s2)).collect() }).to_vec()
    }

    /// Reference: Smyth's formulas over `digamma`, `polygamma`, `brentq` and `t` of SciPy 1.17.1, printed by
    /// tools/golden/make_analysis_hand.py.
    #[test]
    fn two_tasks_of_five_arms_by_formula() {
        let (a, b) = ([0.02, 1.5, 0.3, 4.0, 0.6], [0.5, 9.5, 2.2, 30.0, 4.0]);
        let prior = fit(&tasks(&a, &b));
        close(prior.df, 2.074_098_564_2);
        close(prior.sd(0).unwrap().powi(2), 0.475_187_857_4);
        close(prior.sd(1).unwrap().powi(2), 4.262_202_618_0);
        let shrunk_a = [0.251_733_343_3, 0.978_274_430_5, 0.389_187_062_5, 2.205_539_780_4, 0.536_458_904_5];
        let shrunk_b = [2.415_314_253_1, 6.833_469_512_7, 3.249_854_691_0, 16.897_045_382_0, 4.133_485_742_9];
        for (task, s2, want) in [(0, a, shrunk_a), (1, b, shrunk_b)] {
            for (s2, want) in s2.into_iter().zip(want) {
                let spread = prior.shrink(task, 3, Some(s2)).unwrap();
                close(spread.variance, want);
                close(spread.df, 4.074_098_564_2);
            }
        }
        let single = prior.shrink(0, 1, None).unwrap();
        close(single.variance, 0.475_187_857_4);
        close(single.df, 2.074_098_564_2);
        let arm = |s2| {
            let spread = prior.shrink(0, 3, Some(s2)).unwrap();
            Precision { variance: spread.variance / 3.0, df: spread.df }
        };
        let test = compare(2.0, arm(0.3), arm(0.02), Method::Moderated, 0.05).unwrap();
        let got = [test.se, test.t, test.p, test.lo, test.hi];
        let want = [0.462_212_218_9, 4.327_016_721_4, 0.011_890_644_2, 0.725_845_944_0, 3.274_154_056_0];
        got.iter().zip(want).for_each(|(got, want)| close(*got, want));
    }

    /// These variances differ less than chance alone would make them differ: the prior is the mean variance of the task.
    /// Printed by tools/golden/make_analysis_hand.py.
    #[test]
    fn even_variances_give_an_infinite_prior_df() {
        let prior = fit(&tasks(&[0.5, 0.6, 0.55, 0.45], &[4.0, 5.0, 4.4, 5.2]));
        assert_eq!(prior.df, f64::INFINITY);
        for (task, want) in [(0, 0.525), (1, 4.65)] {
            let spread = prior.shrink(task, 3, Some(0.1)).unwrap();
            close(spread.variance, want);
            assert_eq!(spread.df, 8.0);
        }
    }

    #[test]
    fn constant_and_poor_tasks_have_no_prior() {
        let constant = TaskArms { step: 0.0, arms: vec![(3, 0.0); 4] };
        let lone = TaskArms { step: 0.0, arms: vec![(5, 2.0)] };
        let empty = TaskArms { step: 0.0, arms: Vec::new() };
        let rounded = TaskArms { step: 0.6, arms: vec![(3, 0.0); 2] };
        let prior = fit(&[constant, lone, empty, rounded]);
        assert_eq!(prior.df, 0.0);
        assert_eq!(prior.spread(0, &[1.0; 3], false, Method::Moderated), None);
        assert_eq!(prior.spread(1, &[1.0], false, Method::Moderated), Some(Spread { variance: 2.0, df: 4.0 }));
        assert_eq!(prior.spread(2, &[1.0], false, Method::Moderated), None);
        assert_eq!(prior.spread(2, &[1.0, 3.0], true, Method::Moderated), Some(Spread { variance: 2.0, df: 1.0 }));
        close(prior.spread(3, &[1.0; 3], false, Method::Moderated).unwrap().variance, 0.03);
    }

    /// The prior was learnt from the arms of the task, so that it cannot be known better than they are.
    #[test]
    fn a_shrunk_variance_has_no_more_degrees_of_freedom_than_all_arms_of_its_task() {
        let prior = fit(&tasks(&[0.02, 1.5, 0.3, 4.0, 0.6], &[1.0]));
        assert!(prior.df > 0.0 && prior.df.is_finite(), "{}", prior.df);
        assert_eq!(prior.shrink(0, 3, Some(0.3)).unwrap().df, prior.df + 2.0, "ten from five arms are more");
        assert_eq!(prior.shrink(1, 3, Some(1.0)).unwrap().df, 2.0);
    }
}
