//! The plan of a study: every run and its id, known before the first run starts.

use crate::error::StudyError;
use crate::file::{Study, table_of};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use stepstone_tasks::{Task, TaskData};
use stepstone_train::{EncoderIdentity, Layer, Lengths, Recipe, Role, RunRecord, RunRequest, StartPoint, TrainError};

/// The name of the row that starts from the pretrained encoder.
pub const NONE: &str = "none";

/// The runs of a study. Parents come before the runs that start from them.
#[derive(Debug)]
pub struct Plan {
    /// The study.
    pub study: Study,
    /// Its tasks, in the order of the file.
    pub tasks: Vec<PlannedTask>,
    /// Its runs: intermediates, then the baseline, then the runs that start from each intermediate.
    pub runs: Vec<PlannedRun>,
}

/// A task in a role, with what all its runs share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedTask {
    /// The task.
    #[serde(with = "name_of_task")]
    pub task: &'static Task,
    /// Its role.
    pub role: Role,
    /// Recipe, including the source of each value.
    pub recipe: Recipe,
    /// The overrides behind the recipe, from general to specific.
    pub layers: Vec<Layer>,
    /// Training examples that are used.
    pub n_train: usize,
    /// Dev examples that are scored.
    pub n_dev: usize,
    /// Tokens of the inputs.
    pub lengths: Lengths,
    /// Memory of one run, bytes.
    pub peak_bytes: u64,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// Its id and what the id is made of.
    pub record: RunRecord,
    /// Index of its task in [`Plan::tasks`].
    pub task: usize,
    /// The row it belongs to: an intermediate task, or [`NONE`]. An intermediate run has its own task's name.
    pub intermediate: String,
    /// Index of the run whose encoder it starts from; None for the pretrained encoder.
    pub parent: Option<usize>,
    /// Restart number.
    pub seed: u64,
}

impl Plan {
    /// Reads the encoder and the data of every task, and names every run.
    ///
    /// # Errors
    /// If an input is missing or corrupt, or a value of a recipe is impossible.
    pub fn new(study: Study) -> Result<Self, StudyError> {
        let encoder = EncoderIdentity::read(&study.folders.model)?;
        let mut builder =
            Builder { encoder, data: BTreeMap::new(), tasks: Vec::new(), runs: Vec::new(), study: &study };
        for (name, role) in &study.tasks {
            builder.task(name, *role)?;
        }
        let tasks = |intermediate: bool| {
            let all = study.tasks.iter().enumerate();
            all.filter(move |(_, (_, role))| (*role == Role::Intermediate) == intermediate).map(|(task, _)| task)
        };
        // Intermediates come first, because the id of a run contains the id of its parent.
        let mut parents = Vec::new();
        for task in tasks(true) {
            for seed in 0..study.restarts {
                parents.push(builder.run(task, &study.tasks[task].0, None, seed)?);
            }
        }
        for task in tasks(false) {
            for seed in 0..study.baseline_restarts {
                builder.run(task, NONE, None, seed)?;
            }
        }
        for parent in parents {
            // Restart r of an intermediate feeds restart r of every task, so that scores are paired across start
            // points.
            let PlannedRun { intermediate, seed, .. } = builder.runs[parent].clone();
            for task in tasks(false) {
                builder.run(task, &intermediate, Some(parent), seed)?;
            }
        }
        let (tasks, runs) = (builder.tasks, builder.runs);
        Ok(Self { study, tasks, runs })
    }

    /// The store of its runs.
    pub fn store(&self) -> Store {
        Store::new(&self.study.folders.store)
    }

    /// The name of a run for people: `sst2 -> rte, restart 0`.
    pub fn title(&self, run: &PlannedRun) -> String {
        let task = self.tasks[run.task].task.name;
        match self.tasks[run.task].role {
            Role::Intermediate => format!("{task}, restart {}", run.seed),
            Role::Target | Role::Probe => format!("{} -> {task}, restart {}", run.intermediate, run.seed),
        }
    }

    /// What a process needs to know to train a run.
    pub fn request(&self, run: &PlannedRun, threads: usize) -> RunRequest {
        let (store, task) = (&self.study.folders.store, &self.tasks[run.task]);
        let start = match run.parent.map(|parent| &self.runs[parent].record.id) {
            None => StartPoint::encoder(&self.study.folders.model),
            Some(id) => StartPoint { folder: store.join(id).join("model"), run: Some(id.clone()) },
        };
        RunRequest {
            start,
            task: task.task.name.into(),
            role: task.role,
            data: self.study.folders.data.clone(),
            files: self.study.files_of(task.task.name),
            seed: run.seed,
            preset: self.study.preset,
            layers: task.layers.clone(),
            out: Some(store.join(&run.record.id)),
            // Other runs start from the model of an intermediate, so that model is always kept.
            keep_model: task.role == Role::Intermediate || self.study.keep_models,
            threads,
        }
    }

    /// Name of the encoder, as in observations.csv: the last part of its folder.
    pub fn encoder_name(&self) -> String {
        let path = &self.study.folders.model;
        // A path such as `.` has no last part until it is absolute.
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        absolute.file_name().map_or_else(|| "encoder".into(), |name| name.to_string_lossy().into())
    }
}

/// Serializes a task as its name.
mod name_of_task {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use stepstone_tasks::Task;

    pub(super) fn serialize<S: Serializer>(task: &Task, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(task.name)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(deserializer: D) -> Result<&'static Task, D::Error> {
        stepstone_tasks::find(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

struct Builder<'a> {
    study: &'a Study,
    encoder: EncoderIdentity,
    data: BTreeMap<String, TaskData>,
    tasks: Vec<PlannedTask>,
    runs: Vec<PlannedRun>,
}

impl Builder<'_> {
    fn task(&mut self, name: &str, role: Role) -> Result<(), StudyError> {
        let task = stepstone_tasks::find(name).map_err(|error| StudyError::Train(error.into()))?;
        // A task may have two roles; its data are loaded once.
        // Taken out and put back below, so that the map is not borrowed while `self.tasks` changes.
        let data = match self.data.remove(name) {
            Some(data) => data,
            None => stepstone_tasks::load(task, &self.study.folders.data, &self.study.files_of(name))
                .map_err(|error| StudyError::Train(error.into()))?,
        };
        let layers = self.study.layers(name, role);
        // An error without a key does not concern the recipe.
        let at = |source: TrainError| match source.key() {
            Some(key) => StudyError::Recipe {
                task: format!("{name} as {role}"),
                table: table_of(key, &layers),
                source: Box::new(source),
            },
            None => source.into(),
        };
        let recipe = self.encoder.recipe((task, role), data.train.len(), self.study.preset, &layers).map_err(at)?;
        let capped = |len: usize, cap: Option<usize>| cap.map_or(len, |cap| len.min(cap));
        let lengths = self.encoder.lengths(&data, recipe.inputs.max_length).map_err(at)?;
        self.tasks.push(PlannedTask {
            task,
            role,
            n_train: capped(data.train.len(), recipe.limits.max_train),
            n_dev: capped(data.dev.len(), recipe.limits.max_dev),
            lengths,
            peak_bytes: self.encoder.peak_bytes(&recipe, task, data.labels.len(), lengths.longest),
            recipe,
            layers,
        });
        self.data.insert(name.into(), data);
        Ok(())
    }

    fn run(&mut self, task: usize, row: &str, parent: Option<usize>, seed: u64) -> Result<usize, StudyError> {
        let planned = &self.tasks[task];
        let after = parent.map(|parent| self.runs[parent].record.id.clone());
        let (data, pair) = (&self.data[planned.task.name], (planned.task, planned.role));
        let record = self.encoder.identify(after.as_deref(), pair, data, planned.recipe.clone(), seed)?;
        self.runs.push(PlannedRun { record, task, intermediate: row.into(), parent, seed });
        Ok(self.runs.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, study};
    use std::collections::BTreeSet;

    fn ids(plan: &Plan) -> Vec<&str> {
        plan.runs.iter().map(|run| run.record.id.as_str()).collect()
    }

    #[test]
    fn parents_come_first_and_every_start_meets_every_target_in_every_restart() {
        let plan = plan("probe = [\"cola\"]", "");
        let titles: Vec<String> = plan.runs.iter().map(|run| plan.title(run)).collect();
        let mut want = Vec::new();
        want.extend(["sst2", "mnli"].iter().flat_map(|task| (0..2).map(move |seed| format!("{task}, restart {seed}"))));
        want.extend(
            ["rte", "cola"].iter().flat_map(|task| (0..3).map(move |seed| format!("none -> {task}, restart {seed}"))),
        );
        for start in ["sst2", "mnli"] {
            want.extend(
                (0..2).flat_map(|seed| ["rte", "cola"].map(|task| format!("{start} -> {task}, restart {seed}"))),
            );
        }
        assert_eq!(titles, want);
        for (number, run) in plan.runs.iter().enumerate() {
            let Some(parent) = run.parent else { continue };
            assert!(parent < number, "{}", titles[number]);
            let before = &plan.runs[parent];
            assert_eq!((&before.intermediate, before.seed), (&run.intermediate, run.seed), "{}", titles[number]);
            assert_eq!(run.record.identity.encoder, format!("run:{}", before.record.id));
        }
        assert_eq!(ids(&plan).into_iter().collect::<BTreeSet<_>>().len(), plan.runs.len(), "no two runs share an id");
    }

    #[test]
    fn ids_depend_on_no_path() {
        let place = tempfile::tempdir().expect("folder");
        let here = Plan::new(study(&place.path().join("here"), "a.toml", "", "")).expect("plans");
        let there = Plan::new(study(&place.path().join("there/deep"), "b.toml", "", "")).expect("plans");
        assert_eq!(ids(&here), ids(&there));
    }

    #[test]
    fn a_task_in_two_roles_has_a_recipe_and_runs_of_its_own_in_each() {
        let plan = plan("probe = [\"mnli\"]", "[task.mnli.probe]\nmax_steps = 3\nmax_dev = 3");
        let mnli: Vec<&PlannedTask> = plan.tasks.iter().filter(|task| task.task.name == "mnli").collect();
        let steps: Vec<(Role, u64)> = mnli.iter().map(|task| (task.role, task.recipe.schedule.total_steps)).collect();
        assert_eq!(steps, [(Role::Intermediate, 7), (Role::Probe, 3)]);
        assert_eq!((mnli[0].n_dev, mnli[1].n_dev), (4, 3), "dev examples");
        assert_eq!(ids(&plan).into_iter().collect::<BTreeSet<_>>().len(), plan.runs.len());
    }

    #[test]
    fn a_changed_recipe_changes_the_ids_of_its_runs_and_of_those_that_start_from_them() {
        let (before, after) = (plan("", ""), plan("", "[task.sst2]\nmax_steps = 8"));
        for (old, new) in before.runs.iter().zip(&after.runs) {
            let changed = old.record.id != new.record.id;
            assert_eq!(changed, old.intermediate == "sst2", "{}", before.title(old));
        }
    }

    #[test]
    fn a_request_prepares_to_the_record_that_was_planned() {
        let place = tempfile::tempdir().expect("folder");
        let plan = Plan::new(study(place.path(), "study.toml", "", "")).expect("plans");
        let roots = plan.runs.iter().filter(|run| run.parent.is_none());
        for run in roots {
            let prepared = stepstone_train::Run::prepare(&plan.request(run, 1)).expect("prepares");
            assert_eq!(prepared.record, run.record, "{}", plan.title(run));
        }
        let child = plan.runs.iter().find(|run| run.parent == Some(0)).expect("a child");
        let request = plan.request(child, 1);
        assert_eq!(request.start.run.as_deref(), Some(ids(&plan)[0]));
        assert!(request.start.folder.ends_with(format!("{}/model", ids(&plan)[0])), "{:?}", request.start);
        assert!(!request.keep_model, "nothing starts from a target");
        assert!(plan.request(&plan.runs[0], 1).keep_model, "targets start from this one");
    }

    #[test]
    fn an_impossible_value_names_the_task_and_the_table_it_stands_in() {
        let place = tempfile::tempdir().expect("folder");
        let error = Plan::new(study(place.path(), "study.toml", "", "[task.rte.target]\nmax_length = 41"));
        let error = error.expect_err("40 positions");
        let StudyError::Recipe { task, table, .. } = &error else { panic!("{error:?}") };
        assert_eq!((task.as_str(), table.as_str()), ("rte as target", "[task.rte.target]"));
    }
}
