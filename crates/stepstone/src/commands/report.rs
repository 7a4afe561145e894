//! `stepstone report`: tables and findings from the finished runs of a study. Tests: tests/program/study.rs.

use crate::commands::study::StudyArgs;
use crate::exit::{self, Failure};
use crate::progress::say;
use crate::terminal::{self, Terminal};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use stepstone_analysis::report::{self, Color, Layout};
use stepstone_analysis::{Method, Mode, Options, analyze, parse, write_observations};
use stepstone_files::{read_at_most, write_atomically};
use stepstone_study::{EXPIRY, Leases, Plan, RunState, observations};

/// Far above the results of any study; a pipe or a huge file in their place is not read.
const MOST_BYTES: u64 = 1 << 30;

/// Write observations.csv, report.md and transfer.svg of a study, and show the transfer matrix.
///
/// Works at any time; cells whose runs are not all done are marked as incomplete. If the record or the scores of a finished
/// run are damaged, the command fails (exit code 65) and leaves the last report as it is.
///
/// Example: stepstone report studies/tiny.toml
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    study: StudyArgs,
}

/// Writes the files, and the matrix to `out`.
pub(crate) fn run(args: &Args, out: &mut Terminal<impl Write>) -> Result<u8, Failure> {
    let plan = args.study.kept_plan_to_write("cannot report")?;
    refuse_damaged(&plan)?;
    write_results(&plan, out)?;
    Ok(exit::OK)
}

/// Refuses a report that would silently lack the runs whose results are damaged.
fn refuse_damaged(plan: &Plan) -> Result<(), Failure> {
    let store = plan.store();
    let damaged = plan.runs.iter().filter_map(|run| match store.on_disk(&run.record.id) {
        RunState::Damaged(failure) => Some(format!("{}: {}", plan.title(run), failure.reason)),
        _ => None,
    });
    let damaged: Vec<String> = damaged.collect();
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Failure::damaged(format!("cannot report {}", plan.study.name), &plan.study.path, damaged))
}

/// Writes observations and report into the study's folder, and the transfer matrix to `out`.
pub(crate) fn write_results(plan: &Plan, out: &mut Terminal<impl Write>) -> Result<(), Failure> {
    let what = || format!("cannot report {}", plan.study.path.display());
    let rows = observations(plan, &plan.store(), &mut Leases::new(EXPIRY));
    let rows = rows.map_err(|error| Failure::study(what(), &error))?;
    let done = rows.iter().any(|row| row.score.is_some());
    if !done && had_results(plan) {
        return Err(Failure::vanished(what(), &plan.study.folders.store, &plan.study.folders.out));
    }
    let text = write_observations(&rows);
    claim_folder(plan)?; // before the first file is replaced
    let path = write(plan, "observations.csv", &text)?;
    if !done {
        let (runs, file) = (plan.runs.len(), path.display());
        return writeln!(out, "0 of {runs} runs are done; {file} lists them").map_err(Failure::output);
    }
    // Parsed back from the text, so that the report shows what `stepstone analyze --method welch` would find in the file.
    let observed = parse(&path, text.as_bytes())
        .map_err(|error| Failure::observations(format!("cannot report {}", plan.study.name), &error))?;
    // Welch's t, as docs/statistics.md says: the interval of a cell does not move when other cells finish.
    let options = Options { method: Method::Welch, ..Options::default() };
    // A plan is one study with one encoder, so there is one turn.
    for study in &observed.studies {
        let analysis = analyze(study, &options);
        write(plan, "report.md", &format!("{}\n![Transfer matrix](transfer.svg)\n", report::report(&analysis)))?;
        write(plan, "transfer.svg", &report::svg(&analysis, Mode::Keep))?;
        let layout = Layout { color: color(), ..Layout::default() };
        out.write_styled(&report::summary(&analysis, layout)).map_err(Failure::output)?;
    }
    writeln!(out, "\nobservations.csv, report.md and transfer.svg are in {}", plan.study.folders.out.display())
        .map_err(Failure::output)
}

/// Whether the results that are there show a score of a run of this plan.
fn had_results(plan: &Plan) -> bool {
    let before = read_at_most(&plan.study.folders.out.join("observations.csv"), MOST_BYTES).unwrap_or_default();
    let ids: HashSet<&str> = plan.runs.iter().map(|run| run.record.id.as_str()).collect();
    // Ids and the word `ok` are written without quotes, whatever stands in the other columns.
    let before = String::from_utf8_lossy(&before);
    before.lines().any(|line| line.contains(",ok,") && line.split(',').any(|field| ids.contains(field)))
}

/// Records which study file the results belong to, and warns if they belonged to another one until now. Runs cannot be
/// mixed up, because their ids differ, but tables and figures are replaced.
fn claim_folder(plan: &Plan) -> Result<(), Failure> {
    // Absolute, because the next command may be started in another folder.
    let file = std::path::absolute(&plan.study.path).unwrap_or_else(|_| plan.study.path.clone());
    let noted = read_at_most(&plan.study.folders.out.join("study.json"), MOST_BYTES).unwrap_or_default();
    let before = serde_json::from_slice::<Value>(&noted).unwrap_or_default();
    // A missing or damaged note counts as no earlier study: it must not keep the results from being written.
    if let Some(before) = before["file"].as_str().filter(|before| Path::new(before) != file) {
        let (out, file) = (plan.study.folders.out.display(), file.display());
        say(&format!(
            "warning: {out} held the results of {before}; observations.csv, report.md and transfer.svg there now \
             belong to {file}\n  hint: to keep both, give one of the studies another name or --out"
        ));
        // Until the first run is done no new report replaces them, and they would pass for this study's.
        for name in ["report.md", "transfer.svg"] {
            let path = plan.study.folders.out.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Failure::write(&path, &error)),
                _ => {}
            }
        }
    }
    write(plan, "study.json", &format!("{}\n", json!({"format": 1, "file": file}))).map(drop)
}

fn write(plan: &Plan, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = plan.study.folders.out.join(name);
    fs::create_dir_all(&plan.study.folders.out).map_err(|error| Failure::write(&plan.study.folders.out, &error))?;
    write_atomically(&path, text.as_bytes()).map_err(|error| Failure::write(&path, &error))?;
    Ok(path)
}

/// Whether to use colour: only if standard output is a terminal and NO_COLOR is not set.
pub(crate) fn color() -> Color {
    // By the convention of no-color.org, an empty NO_COLOR counts as not set.
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    // A `dumb` terminal would show the escape codes as text.
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if terminal::output().is_terminal() && !set("NO_COLOR") && !dumb { Color::Ansi256 } else { Color::None }
}
