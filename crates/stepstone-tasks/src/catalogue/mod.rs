//! The catalogue: every built-in task, one row each, by family.

mod glue;

use crate::task::Task;

/// All built-in tasks.
pub fn tasks() -> impl Iterator<Item = &'static Task> {
    glue::TASKS.iter()
}

/// A name that no task has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no task `{name}`")]
pub struct UnknownTask {
    /// What was asked for.
    pub name: String,
    /// The task with the most similar name.
    pub nearest: Option<&'static str>,
}

impl UnknownTask {
    /// What to type instead.
    pub fn hint(&self) -> String {
        let all = tasks().map(|task| task.name).collect::<Vec<_>>().join(", ");
        match self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`? tasks: {all}"),
            None => format!("tasks: {all}"),
        }
    }
}

/// The task of this name.
///
/// # Errors
/// If there is none; the error names the nearest.
pub fn find(name: &str) -> Result<&'static Task, UnknownTask> {
    tasks().find(|task| task.name == name).ok_or_else(|| {
        let similarity = |task: &Task| strsim::jaro_winkler(&name.to_lowercase(), task.name);
        let nearest = tasks().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        let nearest = nearest.filter(|task| similarity(task) > 0.7).map(|task| task.name);
        UnknownTask { name: name.into(), nearest }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read_text;

    #[test]
    fn every_row_has_its_own_name_labels_and_a_sample_that_parses() {
        let mut names = std::collections::BTreeSet::new();
        for task in tasks() {
            assert!(names.insert(task.name), "{} stands twice", task.name);
            assert!(task.labels.len() > 1 && !task.folders.is_empty() && !task.dev.is_empty(), "{}", task.name);
            let layout = &task.layouts.last().expect("a layout").columns;
            let rows = read_text(task, layout, "sample".as_ref(), task.sample, "sample").expect(task.name);
            assert_eq!(rows.len(), 1, "{}", task.name);
            assert!(rows[0].gold.is_some(), "{}", task.name);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (name, want) in [("rte2", Some("rte")), ("SST2", Some("sst2")), ("mlni", Some("mnli")), ("zzz", None)] {
            assert_eq!(find(name).expect_err(name).nearest, want, "{name}");
        }
    }
}
