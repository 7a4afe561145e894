//! Tests every row of the catalogue on made-up data in its official layout.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use stepstone_tasks::{Example, Files, Metric, Task, TaskData, TaskHead, Text, load, tasks};

fn data_of(task: &'static Task) -> TaskData {
    load(task, &stepstone_fixtures::tasks(), &Files::default()).unwrap_or_else(|error| panic!("{}: {error}", task.name))
}

#[test]
fn names_are_unique_and_every_row_is_complete() {
    let mut names = BTreeSet::new();
    for task in tasks() {
        assert!(names.insert(task.name), "{} appears twice", task.name);
        assert!(![task.citation, task.licence].contains(&""), "{}", task.name);
        let unique: BTreeSet<&str> = task.labels.iter().copied().collect();
        assert!(unique.len() > 1 && unique.len() == task.labels.len(), "{}: labels {:?}", task.name, task.labels);
    }
}

#[test]
fn the_head_fits_the_gold_and_the_metric_fits_the_head() {
    for task in tasks() {
        let data = data_of(task);
        for example in data.train.iter().chain(&data.dev) {
            let choices = match (&example.text, task.head) {
                (Text::Single(_) | Text::Pair(..), TaskHead::Classification) => task.labels.len(),
                (Text::Choices(pairs), TaskHead::MultipleChoice) => pairs.len(),
                (text, head) => panic!("{}: {head:?} of {text:?}", task.name),
            };
            assert_eq!(choices, task.labels.len(), "{}", task.name);
            assert!(example.gold.is_some_and(|gold| (gold as usize) < choices), "{}: {example:?}", task.name);
        }
        let two_classes = task.head == TaskHead::Classification && task.labels.len() == 2;
        match task.metric {
            Metric::Accuracy => {}
            Metric::AccuracyF1 | Metric::MatthewsCorrelation => assert!(two_classes, "{}", task.name),
            Metric::MacroF1 => assert_eq!(task.head, TaskHead::Classification, "{}", task.name),
        }
    }
}

#[test]
fn each_split_has_all_its_examples_several_classes_and_unique_ids() {
    for task in tasks() {
        let data = data_of(task);
        // The made-up data has 8 training and 4 dev rows for every task.
        assert_eq!((data.train.len(), data.dev.len()), (8, 4), "{}", task.name);
        for (split, examples) in [("train", &data.train), ("dev", &data.dev)] {
            let different = |of: fn(&Example) -> String| examples.iter().map(of).collect::<BTreeSet<_>>().len();
            assert!(different(|example| format!("{:?}", example.gold)) > 1, "{} {split}", task.name);
            assert_eq!(different(|example| example.id.clone()), examples.len(), "{} {split}", task.name);
        }
        assert_eq!(data.notes, [""; 0], "{}", task.name);
    }
}

/// The texts that a model sees of each task, and the gold label.
#[test]
fn the_first_example_of_every_task() {
    let mut shown = String::new();
    for task in tasks() {
        let data = data_of(task);
        let example = &data.train[0];
        let gold = example.gold.map(|gold| task.labels[gold as usize]);
        writeln!(shown, "{} {} {:?}\n  {:?}", task.name, example.id, gold, example.text).expect("a String");
    }
    insta::assert_snapshot!(shown);
}
