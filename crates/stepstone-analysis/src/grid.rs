//! The scores of a study by arm: one arm for every (task, intermediate or baseline).

use crate::input::{Observations, Outcome, RunScore};
use crate::observation::Role;
use crate::options::Mode;

/// The restarts of one start point on one task.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Arm {
    /// Points of every usable run, in the order of the seeds.
    pub all: Vec<f64>,
    /// Points of the usable runs that are not degenerate, in the order of the seeds.
    pub clean: Vec<f64>,
    /// Runs without a score.
    pub failed: usize,
}

impl Arm {
    /// The scores that count in a mode, in points.
    pub(crate) fn scores(&self, mode: Mode) -> &[f64] {
        match mode {
            Mode::Keep => &self.all,
            Mode::Drop => &self.clean,
        }
    }

    /// Number of degenerate runs.
    pub(crate) fn degenerate(&self) -> usize {
        self.all.len() - self.clean.len()
    }
}

/// The arms of a study's targets and probes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Grid<'a> {
    /// The study that the arms belong to.
    pub study: &'a Observations,
    /// Index into [`Observations::intermediates`] of the row that starts from the pretrained encoder.
    pub baseline: Option<usize>,
    /// Indices into [`Observations::intermediates`] of the rows of the maps: scored on a target or a probe, not the
    /// baseline.
    pub intermediates: Vec<usize>,
    /// `[tasks][study.intermediates]`; tasks that were scored as intermediates have empty arms.
    arms: Vec<Vec<Arm>>,
}

impl<'a> Grid<'a> {
    /// Sorts the runs of a study into arms; `baseline` is the name of the row that starts from the pretrained encoder.
    pub(crate) fn new(study: &'a Observations, baseline: &str) -> Self {
        let mut arms = vec![vec![Arm::default(); study.intermediates.len()]; study.tasks.len()];
        let mut mapped = vec![false; study.intermediates.len()];
        for run in study.runs.iter().filter(|run| study.tasks[run.task as usize].role != Role::Intermediate) {
            // A task that was only trained, and never used as a start, has no row in a map.
            mapped[run.intermediate as usize] = true;
            push(&mut arms[run.task as usize][run.intermediate as usize], run);
        }
        let baseline = study.intermediates.iter().position(|name| name == baseline);
        // The baseline is not a row of the map: it is what every row is compared with.
        let intermediates = (0..mapped.len()).filter(|&i| mapped[i] && Some(i) != baseline).collect();
        Grid { study, baseline, intermediates, arms }
    }

    /// The arm of an intermediate, or of the baseline, on a task.
    pub(crate) fn arm(&self, task: usize, intermediate: usize) -> &Arm {
        &self.arms[task][intermediate]
    }

    /// Every arm of a task.
    pub(crate) fn arms(&self, task: usize) -> &[Arm] {
        &self.arms[task]
    }

    /// Name of an intermediate.
    pub(crate) fn name(&self, intermediate: usize) -> &'a str {
        &self.study.intermediates[intermediate]
    }

    /// Indices of the tasks with a role; sorted by name, as in the study.
    pub(crate) fn tasks(&self, role: Role) -> Vec<usize> {
        (0..self.study.tasks.len()).filter(|&task| self.study.tasks[task].role == role).collect()
    }
}

fn push(arm: &mut Arm, run: &RunScore) {
    match run.outcome {
        Outcome::Unusable => arm.failed += 1,
        // Kept apart from the clean scores, since both modes are computed from the same arms.
        Outcome::Degenerate(_) => arm.all.push(run.points),
        Outcome::Clean => {
            arm.all.push(run.points);
            arm.clean.push(run.points);
        }
    }
}
