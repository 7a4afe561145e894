//! The first form of the report: tables, picture and terminal text of small studies.

use super::terminal::{Color, Layout};
use super::{markdown, summary, svg, terminal};
use crate::analysis::Analysis;
use crate::analyze::analyze;
use crate::input::parse;
use crate::observation::{Observation, Role, Scoring, Status, write_observations};
use crate::options::{Mode, Options};

fn analysis(observations: &[Observation]) -> Analysis {
    let text = write_observations(observations);
    let read = parse("observations.csv", text.as_bytes()).expect("what we write can be read");
    analyze(&read.studies[0], &Options::default())
}

fn run(intermediate: &str, seed: i64, task: &str, role: Role, score: f64) -> Observation {
    let scoring = Scoring { scale: Some(100.0), ..Scoring::default() };
    Observation { scoring, ..Observation::new(intermediate, seed, task, role, score) }
}

/// Two intermediates on two targets and a probe; one degenerate run, one failed run, one missing cell.
fn small() -> Analysis {
    let mut observations = Vec::new();
    let scores = [
        ("none", "rte", [0.612, 0.604, 0.608]),
        ("none", "cb", [0.700, 0.705, 0.711]),
        ("mnli", "rte", [0.702, 0.711, 0.707]),
        ("mnli", "cb", [0.722, 0.500, 0.728]),
        ("qqp", "rte", [0.581, 0.588, 0.592]),
        ("qqp", "cb", [0.690, 0.712, 0.701]),
    ];
    for (intermediate, task, scores) in scores {
        for (seed, score) in scores.into_iter().enumerate() {
            observations.push(run(intermediate, seed as i64, task, Role::Target, score));
        }
    }
    for seed in 0..3 {
        observations.push(run("none", seed, "cola", Role::Probe, 0.5 + 0.01 * seed as f64));
    }
    observations.push(run("mnli", 0, "cola", Role::Probe, 0.55));
    let degenerate = observations.iter_mut().find(|o| o.score == Some(0.5) && o.task == "cb").unwrap();
    degenerate.training.n_distinct_pred = Some(1);
    let failed = observations.iter_mut().find(|o| o.intermediate == "qqp" && o.seed == 2 && o.task == "rte").unwrap();
    (failed.status, failed.score) = (Status::Failed, None);
    analysis(&observations)
}

#[test]
fn tables_say_what_the_cells_hold() {
    let small = small();
    insta::assert_snapshot!("scores", markdown::scores(&small, Mode::Keep));
    insta::assert_snapshot!("transfer", markdown::transfer(&small, Mode::Keep));
    insta::assert_snapshot!("terminal", terminal::transfer(&small, Mode::Keep, Layout::default()));
}

#[test]
fn terminal_text_keeps_to_its_width() {
    let mut observations = Vec::new();
    for task in 0..23 {
        for intermediate in ["none", "an-intermediate-with-a-long-name", "b"] {
            for seed in 0..2 {
                let score = 0.5 + 0.01 * f64::from(task) + 0.001 * seed as f64;
                observations.push(run(intermediate, seed, &format!("task-{task}"), Role::Target, score));
            }
        }
    }
    let analysis = analysis(&observations);
    for width in [40, 60, 80, 200] {
        let plain = terminal::transfer(&analysis, Mode::Keep, Layout { width, color: Color::None });
        for line in plain.lines() {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
        }
        let coloured = terminal::transfer(&analysis, Mode::Keep, Layout { width, color: Color::Ansi256 });
        assert_eq!(without_escapes(&coloured), without_escapes(&plain), "{width}");
        assert!(coloured.contains("\u{1b}[38;5;16;48;5;"), "{coloured}");
    }
}

fn without_escapes(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().unwrap_or("").to_owned();
    let rest: String = pieces.map(|piece| piece.split_once('m').map_or("", |(_, after)| after)).collect();
    (first + &rest).lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn names_with_markup_stay_text() {
    let evil = "<script>alert(1)</script>&|\u{1b}[31m";
    let observations: Vec<Observation> = ["none", evil]
        .into_iter()
        .flat_map(|start| (0..3).map(move |seed| run(start, seed, evil, Role::Target, 0.5 + 0.01 * seed as f64)))
        .collect();
    let analysis = analysis(&observations);
    let picture = svg(&analysis, Mode::Keep);
    assert!(!picture.contains("<script") && !picture.contains('\u{1b}'));
    assert!(
        picture.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;|\u{fffd}[31m \u{2192}"),
        "the title holds the full name"
    );
    for table in [markdown::scores(&analysis, Mode::Keep), markdown::transfer(&analysis, Mode::Keep)] {
        assert!(!table.contains("<script") && table.contains("&lt;script&gt;"), "{table}");
        assert!(table.contains("&amp;\\|"), "a bar ends no cell: {table}");
    }
    let text = summary(&analysis, Layout::default());
    assert!(!text.contains('\u{1b}'), "no escape of the file reaches the terminal");
}

#[test]
fn every_element_of_the_picture_is_closed_and_every_mark_counted() {
    let picture = svg(&small(), Mode::Keep);
    assert_well_formed(&picture);
    for words in [
        "role=\"img\"",
        "prefers-color-scheme:dark",
        "<title>mnli \u{2192} rte: +9.9 points",
        "degenerate run inside (1)",
        "incomplete: planned runs without a score (1)",
        "no difference: this cell or its baseline has no run (1)",
        "a single run (1)",
        "</svg>\n",
    ] {
        assert!(picture.contains(words), "{words} is not in\n{picture}");
    }
}

/// Every tag that opens closes, in order. Enough of XML for what we write: no comments, no CDATA.
fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in text.split('<').skip(1).map(|piece| piece.split_once('>').expect("a tag ends").0) {
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap_or(tag));
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn studies_without_baseline_or_intermediates_or_scores_are_drawn() {
    let lone = [run("none", 0, "rte", Role::Target, 0.5)];
    let no_baseline = [run("mnli", 0, "rte", Role::Target, 0.5)];
    let nothing = [Observation { status: Status::Running, score: None, ..run("mnli", 0, "rte", Role::Probe, 0.0) }];
    for observations in [&lone, &no_baseline, &nothing] {
        let analysis = analysis(observations);
        for mode in [Mode::Keep, Mode::Drop] {
            assert_well_formed(&svg(&analysis, mode));
            let all = markdown::scores(&analysis, mode) + &markdown::transfer(&analysis, mode);
            let all = all + &terminal::transfer(&analysis, mode, Layout::default());
            assert!(!all.contains("NaN") && !all.contains("inf"), "{all}");
        }
    }
}
