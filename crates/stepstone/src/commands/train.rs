//! `stepstone train`: one run, without a study.

use crate::commands::recipe_flags::RecipeFlags;
use crate::destination;
use crate::exit::{self, Failure};
use crate::flags;
use crate::progress::{Board, of_run, say};
use crate::remedy::Setting;
use crate::stop::{self, Asked};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use stepstone_study::{EXPIRY, Leases, StudyError};
use stepstone_tasks::Files;
use stepstone_train::{Control, Layer, Outcome, Role, Run, RunRequest, Scores, Source, StartPoint, TrainError};

/// Fine-tune an encoder on one task.
///
/// The run folder (runs/ID unless --out names another) gets run.json, log.jsonl, predictions.jsonl, model/ and, last,
/// scores.json. After Ctrl-C or a kill, the same command continues from the last resume point.
///
/// Example: stepstone train --model models/all-MiniLM-L6-v2 --task rte --data data --seed 0
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Hugging Face folder of a BERT or RoBERTa encoder
    #[arg(long)]
    model: PathBuf,
    /// Task; `stepstone tasks list` shows all
    #[arg(long)]
    task: String,
    /// Folder that holds one folder per task
    #[arg(long)]
    data: PathBuf,
    /// Restart number
    #[arg(long, default_value_t = 0, value_parser = flags::seed())]
    seed: u64,
    /// Run folder [default: runs/ID]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the scores as one JSON object
    #[arg(long)]
    json: bool,
    /// Number of threads; it does not change the result [default: all cores]
    #[arg(long, value_parser = flags::count())]
    threads: Option<usize>,
    /// Minimum seconds between two resume points
    #[arg(long, default_value_t = 60, value_parser = flags::seconds())]
    resume_seconds: u64,
    #[command(flatten)]
    recipe: RecipeFlags,
}

/// Trains, shows progress on standard error, and writes the scores to `out`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let failure = |error: TrainError| failure(args, &error);
    let request = RunRequest {
        start: StartPoint::encoder(&args.model),
        task: args.task.clone(),
        // The role is part of the id, so this is the same run as a baseline run of a study with this recipe and seed.
        role: Role::Target,
        data: args.data.clone(),
        files: Files::default(),
        seed: args.seed,
        preset: args.recipe.preset,
        layers: vec![Layer { source: Source::Flag, overrides: args.recipe.overrides.clone() }],
        out: args.out.clone(),
        keep_model: true,
        threads: args.threads.unwrap_or_else(super::all_cores),
    };
    // The run is prepared before its folder is checked: an error in the data or the recipe is the more useful one.
    let run = Run::prepare(&request).map_err(failure)?;
    if let Some(folder) = &args.out {
        destination::check(&what(args), folder, destination::of_run)?;
    }
    if run.truncated > 0.0 {
        say(&format!("{:.1} % of the training inputs are truncated to max_length", 100.0 * run.truncated));
    }
    run.notes.iter().for_each(|note| say(note));
    // A finished run is reported without a lease, so its folder may be read-only.
    let outcome = match run.finished().map_err(failure)? {
        Some(scores) => Outcome::Done(scores),
        None => train(args, &run)?,
    };
    match outcome {
        Outcome::Done(scores) => {
            write_scores(args.json, &run, &scores, out).map_err(Failure::output)?;
            Ok(exit::OK)
        }
        Outcome::Stopped { step } => {
            let folder = run.folder.path().display();
            say(&format!("stopped after step {step}; state saved in {folder}; run the same command to continue"));
            Ok(exit::WORK_LEFT)
        }
    }
}

/// Trains while holding a lease on the run's folder, so that a second process is refused.
fn train(args: &Args, run: &Run) -> Result<Outcome, Failure> {
    let held = |error: StudyError| Failure::study(format!("cannot train {}", args.task), &error);
    let stop = Asked::of_command().map_err(Failure::system)?.wish.stop;
    let lease = Leases::new(EXPIRY).take_or_watch(run.folder.path(), &stop).map_err(held)?;
    let (mut board, mut score) = (Board::new(), None);
    stop::announce(&stop, board.speaker());
    let outcome = lease.hold(EXPIRY, |still_ours| {
        let control = Control { stop: &stop, resume_interval: Duration::from_secs(args.resume_seconds), still_ours };
        run.train(&control, &mut |progress| {
            score = progress.score.or(score); // most steps have no score; the line shows the last one
            board.show_whole(progress.score.is_some(), || of_run(progress, score));
        })
    });
    drop(board); // later output starts on a clean line
    match outcome {
        Ok(Outcome::Done(_)) => lease.remove(),
        Ok(Outcome::Stopped { .. }) | Err(_) => {
            let _ = lease.release(); // if this fails, the end of the process frees the run
        }
    }
    outcome.map_err(|error| failure(args, &error))
}

fn what(args: &Args) -> String {
    format!("cannot train {} from {}", args.task, args.model.display())
}

fn failure(args: &Args, error: &TrainError) -> Failure {
    Failure::new(what(args), error, &Setting::Flag)
}

fn write_scores(as_json: bool, run: &Run, scores: &Scores, out: &mut impl Write) -> io::Result<()> {
    if as_json {
        let value = json!({"schema": "stepstone.train/1", "run": run.folder.path(), "scores": scores});
        return writeln!(out, "{value}");
    }
    for score in scores.scores.iter().chain(&scores.parts) {
        writeln!(out, "{:<24} {:.4}", score.name, score.value)?;
    }
    writeln!(out, "{:<24} {:.4}", "majority_score", scores.data.majority_score)?;
    writeln!(out, "run {} in {}", scores.run_id, run.folder.path().display())
}
