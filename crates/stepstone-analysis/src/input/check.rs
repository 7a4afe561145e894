//! Turns rows into studies: drops repeated lines, refuses conflicting ones, and checks that a task has one unit.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::error::{Located, Problem, fault};
use super::header::Header;
use super::observations::{Observations, ObservationsFile, RunScore, Task};
use super::repeats::Repeated;
use super::row::{FileRows, Name, Row};
use super::scale::{self, Unit};
use crate::observation::{Role, Status};

/// The order of the runs: study, encoder, role, task, intermediate, seed, and the line number among lines of one run.
type Key = (u32, u32, Role, u32, u32, i64, u64);

fn key(row: &Row) -> Key {
    (
        row.name(Name::Study),
        row.name(Name::Encoder),
        row.role,
        row.name(Name::Task),
        row.name(Name::Intermediate),
        row.seed,
        row.line,
    )
}

/// Sorts and checks the rows of a file.
pub(super) fn studies(table: &FileRows<'_>, header: &Header) -> Located<ObservationsFile> {
    let mut order: Vec<(Key, u32)> = table.rows.iter().enumerate().map(|(i, row)| (key(row), i as u32)).collect();
    // The line is part of the key: no two keys are equal, and an unstable sort has one result.
    order.par_sort_unstable();
    let sorted: Vec<&Row> = order.into_iter().map(|(_, i)| &table.rows[i as usize]).collect();
    let same_study = |a: &&Row, b: &&Row| {
        a.name(Name::Study) == b.name(Name::Study) && a.name(Name::Encoder) == b.name(Name::Encoder)
    };
    let mut studies = Vec::new();
    let mut first_problem: Option<(Option<u64>, Box<Problem>)> = None;
    for rows in sorted.chunk_by(same_study) {
        match study(rows, table, header) {
            Ok(study) => studies.push(study),
            Err(problem) => {
                // Studies are checked one by one, but the error to name is the first in the file.
                let earlier = first_problem.as_ref().is_none_or(|first| problem.0 < first.0);
                if earlier {
                    first_problem = Some(problem);
                }
            }
        }
    }
    match first_problem {
        Some(problem) => Err(problem),
        None => Ok(ObservationsFile { studies, notes: file_notes(table, header) }),
    }
}

fn file_notes(table: &FileRows<'_>, header: &Header) -> Vec<String> {
    let mut notes = Vec::new();
    if !header.unknown.is_empty() {
        notes.push(format!("columns that were not used: {}", header.unknown.join(", ")));
    }
    if let [first, rest @ ..] = table.headers.as_slice() {
        let more = if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
        notes.push(format!("line {first}{more} repeats the header and was skipped: were files joined?"));
    }
    if !table.ends_with_line {
        notes.push(
            "the last line does not end in a newline: if the file was cut, its last cell may be incomplete".to_owned(),
        );
    }
    notes
}

/// The primary lines of one task.
struct TaskRows<'a> {
    role: Role,
    task: u32,
    /// Every primary line.
    primary: Vec<&'a Row>,
    /// One line per (intermediate, seed): the usable one where there is one.
    chosen: Vec<&'a Row>,
}

fn study(rows: &[&Row], table: &FileRows<'_>, header: &Header) -> Located<Observations> {
    let mut repeated = Repeated::default();
    let mut by_task = Vec::new();
    for rows in rows.chunk_by(|a, b| (a.role, a.name(Name::Task)) == (b.role, b.name(Name::Task))) {
        by_task.push(task_rows(rows, table, header, &mut repeated)?);
    }
    one_role(&by_task, table)?;
    let units: Vec<Unit> = by_task.iter().map(|task| unit(task, table)).collect::<Located<_>>()?;

    let mut ids: Vec<u32> = rows.iter().map(|row| row.name(Name::Intermediate)).collect();
    // Numbers are ranks of names over the whole file; a study renumbers those that it has.
    ids.sort_unstable();
    ids.dedup();
    let place = |id: u32| ids.binary_search(&id).map_or(0, |place| place as u32);
    let mut sizes = vec![None; ids.len()];
    let mut runs = Vec::with_capacity(by_task.iter().map(|task| task.chosen.len()).sum());
    for (index, (task, unit)) in by_task.iter().zip(&units).enumerate() {
        for row in &task.chosen {
            let intermediate = place(row.name(Name::Intermediate));
            if task.role != Role::Intermediate && row.about.n_intermediate.is_finite() {
                sizes[intermediate as usize].get_or_insert(row.about.n_intermediate);
            }
            let points = if row.usable() { row.score * unit.scale } else { 0.0 };
            runs.push(RunScore {
                task: index as u32,
                intermediate,
                seed: row.seed,
                points,
                outcome: scale::outcome(row, *unit),
            });
        }
    }
    Ok(Observations {
        study: table.name(Name::Study, rows[0].name(Name::Study)).to_owned(),
        encoder: table.name(Name::Encoder, rows[0].name(Name::Encoder)).to_owned(),
        intermediates: ids.iter().map(|&id| table.name(Name::Intermediate, id).to_owned()).collect(),
        sizes,
        tasks: by_task.iter().zip(&units).map(|(rows, unit)| task(rows, *unit, table)).collect(),
        runs,
        lines: by_task.iter().map(|task| task.primary.len()).sum(),
        notes: notes(&by_task, &units, &repeated, table),
    })
}

fn task_rows<'a>(
    rows: &[&'a Row],
    table: &FileRows<'_>,
    header: &Header,
    repeated: &mut Repeated,
) -> Located<TaskRows<'a>> {
    let mut found =
        TaskRows { role: rows[0].role, task: rows[0].name(Name::Task), primary: Vec::new(), chosen: Vec::new() };
    let same_run = |a: &&Row, b: &&Row| (a.name(Name::Intermediate), a.seed) == (b.name(Name::Intermediate), b.seed);
    for lines in rows.chunk_by(same_run) {
        // Nearly every run has one line; only runs with several need the slow path below.
        if let [only] = lines
            && only.primary
        {
            found.primary.push(only);
            found.chosen.push(only);
            continue;
        }
        let lines = repeated.without(lines, table, header);
        let primary: Vec<&Row> = lines.iter().copied().filter(|row| row.primary).collect();
        let usable: Vec<&Row> = primary.iter().copied().filter(|row| row.usable()).collect();
        // Two scores of one run cannot both be right, and picking one would be a guess.
        if let [first, second, ..] = usable[..] {
            return fault(Some(second.line), conflict(first, second, table));
        }
        // A failed try beside a scored one is the history of a run that was repeated, not a missing run.
        let Some(chosen) = usable.first().or(primary.first()) else {
            let (task, intermediate) = (name(table, Name::Task, lines[0]), name(table, Name::Intermediate, lines[0]));
            return fault(Some(lines[0].line), Problem::NoPrimary { task, intermediate, seed: lines[0].seed });
        };
        found.chosen.push(chosen);
        found.primary.extend(primary);
    }
    Ok(found)
}

fn name(table: &FileRows<'_>, column: Name, row: &Row) -> String {
    table.name(column, row.name(column)).to_owned()
}

fn conflict(first: &Row, second: &Row, table: &FileRows<'_>) -> Problem {
    let metrics = [name(table, Name::Metric, first), name(table, Name::Metric, second)];
    Problem::Conflict {
        first: first.line,
        task: name(table, Name::Task, second),
        role: second.role.name(),
        intermediate: name(table, Name::Intermediate, second),
        seed: second.seed,
        metrics: (metrics[0] != metrics[1]).then(|| metrics.into()),
    }
}

fn one_role(by_task: &[TaskRows<'_>], table: &FileRows<'_>) -> Located<()> {
    let of = |role: Role| by_task.iter().filter(move |task| task.role == role);
    let targets: BTreeMap<u32, &TaskRows<'_>> = of(Role::Target).map(|task| (task.task, task)).collect();
    let line = |task: &TaskRows<'_>| task.primary.iter().map(|row| row.line).min();
    for probe in of(Role::Probe) {
        if let Some(target) = targets.get(&probe.task) {
            let task = table.name(Name::Task, probe.task).to_owned();
            return fault(line(probe), Problem::TwoRoles { task, first: line(target).unwrap_or(0) });
        }
    }
    Ok(())
}

fn unit(rows: &TaskRows<'_>, table: &FileRows<'_>) -> Located<Unit> {
    let mut in_file_order = rows.primary.clone();
    // Of two lines that disagree, the later one is reported, against the earlier one.
    in_file_order.sort_unstable_by_key(|row| row.line);
    let name = table.name(Name::Task, rows.task);
    scale::unit(&in_file_order, name, &metric(rows, table))
}

/// The task's primary metric: the first that a line names.
fn metric(rows: &TaskRows<'_>, table: &FileRows<'_>) -> String {
    rows.primary.iter().map(|row| name(table, Name::Metric, row)).find(|metric| !metric.is_empty()).unwrap_or_default()
}

fn task(rows: &TaskRows<'_>, unit: Unit, table: &FileRows<'_>) -> Task {
    let metric = metric(rows, table);
    // Of accuracy the step is known: one example more or less. Where runs were scored on different numbers of examples, the fewest give the largest, most careful step.
    let n_dev = rows.primary.iter().map(|row| row.about.n_dev).filter(|n| *n > 0.0).reduce(f64::min);
    let step = match n_dev {
        Some(n_dev) if metric == "accuracy" => unit.scale * unit.whole / n_dev,
        _ => 0.0,
    };
    Task {
        name: table.name(Name::Task, rows.task).to_owned(),
        role: rows.role,
        higher_is_better: rows.primary[0].about.higher_is_better,
        scale: unit.scale,
        step,
        n_train: rows.primary.iter().map(|row| row.about.n_train).find(|n| n.is_finite()),
        metric,
    }
}

fn notes(by_task: &[TaskRows<'_>], units: &[Unit], repeated: &Repeated, table: &FileRows<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((line, earlier)) = repeated.example {
        let said = match repeated.count {
            1 => "1 line repeats another in every column and counts once".to_owned(),
            n => format!("{n} lines repeat another in every column and count once"),
        };
        notes.push(format!("{said} (line {line} = line {earlier})"));
    }
    let assumed = |scale: f64| units.iter().filter(|unit| unit.assumed && unit.scale == scale).count();
    let (fractions, points) = (assumed(100.0), assumed(1.0));
    if fractions + points > 0 {
        notes.push(format!(
            "no `scale` given for {} tasks: {fractions} hold fractions of 1 (scale 100), {points} hold points (scale 1)",
            fractions + points
        ));
    }
    // A line without a score beside a scored line of the same run costs nothing, so only chosen lines are counted.
    let unscored = by_task.iter().flat_map(|task| &task.chosen);
    let unscored: Vec<_> = unscored.filter(|row| row.status == Status::Ok && row.score.is_nan()).collect();
    if let Some(first) = unscored.iter().map(|row| row.line).min() {
        notes.push(format!(
            "{} runs with status ok have no score and count as failed (first: line {first})",
            unscored.len()
        ));
    }
    for task in by_task {
        for (column, word) in [(Name::Recipe, "recipes"), (Name::Metric, "primary metrics")] {
            if let Some((one, other)) = two_values(task, column, table) {
                let name = table.name(Name::Task, task.task);
                notes.push(format!(
                    "warning: task `{name}` has two {word}, `{one}` and `{other}`: its runs may not be comparable"
                ));
            }
        }
    }
    notes
}

/// The first two different values of a text column among the chosen lines of a task.
fn two_values<'a>(task: &TaskRows<'_>, column: Name, table: &'a FileRows<'_>) -> Option<(&'a str, &'a str)> {
    let stated = || task.chosen.iter().map(|row| table.name(column, row.name(column))).filter(|n| !n.is_empty());
    let first = stated().next()?;
    let other = stated().find(|value| *value != first)?;
    Some((first, other))
}

#[cfg(test)]
mod tests {
    use super::super::observations::{Outcome, Reason};
    use super::super::parse;

    #[test]
    fn degenerate_rules_fire_in_their_order() {
        let header = "intermediate,seed,task,role,score,scale,n_dev,n_classes,majority_score,final_train_loss,n_distinct_pred,degenerate";
        let table: &[(&str, Outcome)] = &[
            ("0.9,100,100,2,0.5,0.1,2,true", Outcome::Degenerate(Reason::Runner)),
            ("0.5,100,100,2,0.5,0.69,1,", Outcome::Degenerate(Reason::Constant)),
            ("0.51,100,100,2,0.5,,,", Outcome::Degenerate(Reason::Majority)),
            ("0.52,100,100,2,0.5,,,", Outcome::Clean),
            ("51,1,100,2,50,,,", Outcome::Degenerate(Reason::Majority)),
            ("52,1,100,2,50,,,", Outcome::Clean),
            ("0.5,100,100,2,0.5,0.3,2,", Outcome::Clean), // scores near the majority, but the loss fell
            ("0.64,100,100,2,0.5,0.66,2,", Outcome::Degenerate(Reason::Loss)),
            ("0.66,100,100,2,0.5,0.66,2,", Outcome::Clean),
            ("0.64,100,100,2,0.5,0.65,2,", Outcome::Clean),
            ("0.5,100,,,,,,", Outcome::Clean),
        ];
        for (cells, want) in table {
            let text = format!("metric,{header}\naccuracy,none,0,rte,target,{cells}\n");
            let read = parse("o.csv", text.as_bytes()).unwrap();
            assert_eq!(read.studies[0].runs[0].outcome, *want, "{cells}");
        }
    }
}
