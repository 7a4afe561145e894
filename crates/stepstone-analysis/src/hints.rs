//! Hints at runs that may have failed without being flagged. They never change a number.

use serde::{Deserialize, Serialize};

use crate::input::{Observations, Outcome, RunScore};
use crate::moments::{mean, median, variance};
use crate::observation::Role;

/// Runs and tasks to look at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// Clean runs far below the others of their task, sorted by task, intermediate and seed.
    pub suspects: Vec<Suspect>,
    /// Tasks whose runs fall into two groups, sorted by role and name.
    pub bimodal: Vec<Bimodal>,
}

/// A clean run that scores below the median of its task's clean runs by more than 5 x 1.4826 median absolute
/// deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// The start point.
    pub intermediate: String,
    /// The task.
    pub task: String,
    /// The restart.
    pub seed: i64,
    /// Its score in points.
    pub score: f64,
    /// Median of the task's clean runs in points.
    pub median: f64,
}

/// A task whose runs fall into two groups: Ashman's D above 2, with at least two runs in each group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bimodal {
    /// The task.
    pub task: String,
    /// Its role.
    pub role: Role,
    /// Ashman's D; `None` where both groups are constant.
    pub ashman_d: Option<f64>,
    /// Number and mean in points of the lower group.
    pub low: Group,
    /// Number and mean in points of the upper group.
    pub high: Group,
}

/// A group of runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Runs.
    pub n: usize,
    /// Their mean in points.
    pub mean: f64,
}

/// Fewest clean runs of a task in which an outlier is looked for: with fewer, the median absolute deviation says little.
const FEWEST: usize = 8;

/// Looks at every target and probe.
pub(crate) fn hints(study: &Observations) -> Hints {
    let mut found = Hints::default();
    for runs in study.runs.chunk_by(|a, b| a.task == b.task) {
        let task = &study.tasks[runs[0].task as usize];
        if task.role == Role::Intermediate {
            continue;
        }
        let usable: Vec<&RunScore> = runs.iter().filter(|run| run.outcome != Outcome::Unusable).collect();
        // Degenerate runs are already known; hints look for failures that no rule has found.
        let clean: Vec<&RunScore> = usable.iter().copied().filter(|run| run.outcome == Outcome::Clean).collect();
        found.suspects.extend(suspects(study, &clean, task.sign()));
        let points: Vec<f64> = usable.iter().map(|run| run.points).collect();
        if let Some((ashman_d, low, high)) = two_groups(points) {
            found.bimodal.push(Bimodal { task: task.name.clone(), role: task.role, ashman_d, low, high });
        }
    }
    found.suspects.sort_by(|a, b| (&a.task, &a.intermediate, a.seed).cmp(&(&b.task, &b.intermediate, b.seed)));
    found
}

fn suspects(study: &Observations, clean: &[&RunScore], sign: f64) -> Vec<Suspect> {
    let scores: Vec<f64> = clean.iter().map(|run| sign * run.points).collect();
    let Some(center) = median(&scores).filter(|_| scores.len() >= FEWEST) else { return Vec::new() };
    let deviations: Vec<f64> = scores.iter().map(|score| (score - center).abs()).collect();
    // 1.4826 makes the median absolute deviation an estimate of the standard deviation of normal scores.
    let spread = 1.4826 * median(&deviations).unwrap_or(0.0);
    let suspect = |run: &RunScore| Suspect {
        intermediate: study.intermediates[run.intermediate as usize].clone(),
        task: study.tasks[run.task as usize].name.clone(),
        seed: run.seed,
        score: run.points,
        median: sign * center,
    };
    // Five deviations: with the few dozen runs of a task, chance reaches three now and then.
    let low = clean.iter().zip(&scores).filter(|(_, score)| **score < center - 5.0 * spread);
    low.map(|(run, _)| suspect(run)).collect()
}

/// The split into two groups with the least squares inside them, if Ashman's D is above 2.
fn two_groups(mut points: Vec<f64>) -> Option<(Option<f64>, Group, Group)> {
    // In one dimension the best two groups are always separated by a cut in the sorted scores.
    points.sort_unstable_by(f64::total_cmp);
    let n = points.len();
    let (first, last) = (*points.first()?, *points.last()?);
    // Two groups of two runs are the fewest.
    if n < 4 || first == last {
        return None;
    }
    // Least squares inside the groups = most squares between them.
    // Sums over differences from the first score keep the digits that the squares need.
    let total: f64 = points.iter().map(|value| value - first).sum();
    let (mut below, mut best) = (0.0, (f64::NEG_INFINITY, 0));
    for split in 1..n {
        below += points[split - 1] - first;
        let (low, high) = (below / split as f64, (total - below) / (n - split) as f64);
        let between = split as f64 * (n - split) as f64 * (high - low) * (high - low);
        if between > best.0 {
            best = (between, split);
        }
    }
    let (low, high) = points.split_at(best.1);
    // `variance` needs two values: one outlier does not make a group.
    let spread = variance(low)? + variance(high)?;
    let (low, high) = (Group { n: low.len(), mean: mean(low) }, Group { n: high.len(), mean: mean(high) });
    let distance = std::f64::consts::SQRT_2 * (high.mean - low.mean) / spread.sqrt();
    (distance > 2.0).then(|| ((spread > 0.0).then_some(distance), low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::parse;
    use std::fmt::Write;

    #[test]
    fn one_run_far_below_its_task_is_a_suspect_and_two_levels_are_bimodal() {
        let mut text = String::from("intermediate,seed,task,role,score,scale\n");
        for (intermediate, scores) in
            [("none", [92.5, 93.2, 0.0]), ("a", [93.0, 92.1, 92.8]), ("b", [92.2, 93.3, 92.7])]
        {
            for (seed, score) in scores.into_iter().enumerate() {
                let other = if score > 92.9 { 97.9 } else { 58.3 };
                writeln!(text, "{intermediate},{seed},ep-srl,probe,{score},1").unwrap();
                writeln!(text, "{intermediate},{seed},aj,probe,{other},1").unwrap();
            }
        }
        let found = hints(&parse("o.csv", text.as_bytes()).unwrap().studies[0]);
        let suspects: Vec<_> = found.suspects.iter().map(|s| (s.intermediate.as_str(), s.seed, s.score)).collect();
        assert_eq!(suspects, [("none", 2, 0.0)]);
        assert_eq!(found.bimodal.len(), 1, "a single run does not make a group: {:?}", found.bimodal);
        let Bimodal { task, ashman_d, low, high, .. } = &found.bimodal[0];
        assert_eq!((task.as_str(), *ashman_d), ("aj", None));
        assert_eq!((low.n, high.n), (6, 3));
    }
}
