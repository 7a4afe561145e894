//! `stepstone train`: one run, without a study.

use crate::exit::{self, Failure};
use crate::progress::ProgressLine;
use crate::stop;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;
use stepstone_models::HeadKind;
use stepstone_tasks::Files;
use stepstone_train::{
    Control, Layer, Outcome, Overrides, Preset, Role, Run, RunRequest, Scores, Source, StartPoint, TrainError,
};

/// Fine-tune an encoder on one task.
///
/// The run folder (runs/ID unless --out names another) gets run.json, log.jsonl, predictions.jsonl, model/ and, last,
/// scores.json. Stopped with Ctrl-C or killed, the same command goes on where it was.
///
/// Example: stepstone train --model models/all-MiniLM-L6-v2 --task rte --data data --seed 0
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
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
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Run folder [default: runs/ID]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print the scores as one JSON object
    #[arg(long)]
    json: bool,
    /// Threads [default: all cores]; they never change a result
    #[arg(long)]
    threads: Option<usize>,
    /// Least seconds between two resume points
    #[arg(long, default_value_t = 60)]
    resume_seconds: u64,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Values that differ from the preset; defaults are those of preset `default`.
#[derive(clap::Args)]
#[command(next_help_heading = "Recipe")]
struct RecipeArgs {
    /// What the recipe is before anything is overridden: `default`, or `acl2020` (that study's own, task by task)
    #[arg(long, default_value = "default", value_parser = PossibleValuesParser::new(Preset::NAMES))]
    preset: String,
    /// Head: `hf` (as transformers has it) or `linear` (the paper's) [default: hf]
    #[arg(long, value_parser = PossibleValuesParser::new(["hf", "linear"]))]
    head: Option<String>,
    /// Peak learning rate [default: 2e-5; 5e-5 if hidden_size < 768]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Not on biases and layer norms [default: 0.01]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Global gradient norm; 0 never clips [default: 1]
    #[arg(long)]
    max_grad_norm: Option<f64>,
    /// Dropout before the last linear layer [default: as config.json says]
    #[arg(long)]
    classifier_dropout: Option<f64>,
    /// Share of all steps [default: 0.1]
    #[arg(long)]
    warmup_ratio: Option<f64>,
    /// Steps, instead of a ratio
    #[arg(long)]
    warmup_steps: Option<u64>,
    /// Epochs [default: 3, raised until 1,500 steps, at most 20]
    #[arg(long)]
    epochs: Option<f64>,
    /// Steps, instead of epochs
    #[arg(long)]
    max_steps: Option<u64>,
    /// Examples per step [default: 16]
    #[arg(long)]
    batch_size: Option<usize>,
    /// Parts in which a batch is computed, to save memory [default: 1]
    #[arg(long)]
    gradient_accumulation_steps: Option<usize>,
    /// Tokens of an input; longer ones are cut [default: 256]
    #[arg(long)]
    max_length: Option<usize>,
    /// Evaluations in a run [default: 10]
    #[arg(long)]
    evaluations: Option<u64>,
    /// End after more than so many evaluations in a row without a better score [default: never]
    #[arg(long)]
    patience: Option<u64>,
    /// Training examples at most, chosen by a hash of their ids [default: all]
    #[arg(long)]
    max_train: Option<usize>,
    /// Dev examples at most, likewise [default: all]
    #[arg(long)]
    max_dev: Option<usize>,
}

impl RecipeArgs {
    fn overrides(&self) -> Overrides {
        Overrides {
            head: self.head.as_deref().map(|head| if head == "linear" { HeadKind::Linear } else { HeadKind::Hf }),
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            classifier_dropout: self.classifier_dropout,
            warmup_ratio: self.warmup_ratio,
            warmup_steps: self.warmup_steps,
            epochs: self.epochs,
            max_steps: self.max_steps,
            batch_size: self.batch_size,
            gradient_accumulation_steps: self.gradient_accumulation_steps,
            max_length: self.max_length,
            evaluations: self.evaluations,
            patience: self.patience,
            max_train: self.max_train,
            max_dev: self.max_dev,
        }
    }
}

/// Trains, shows progress on standard error, and writes the scores to `out`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let failure =
        |error: TrainError| Failure::new(format!("cannot train {} from {}", args.task, args.model.display()), &error);
    let request = RunRequest {
        start: StartPoint::encoder(&args.model),
        task: args.task.clone(),
        role: Role::Target,
        data: args.data.clone(),
        files: Files::default(),
        seed: args.seed,
        // The parser lets no other name through.
        preset: Preset::of(&args.recipe.preset).unwrap_or_default(),
        layers: vec![Layer { source: Source::Flag, overrides: args.recipe.overrides() }],
        out: args.out.clone(),
        keep_model: true,
        threads: args.threads.unwrap_or_else(super::all_cores),
    };
    let run = Run::prepare(&request).map_err(failure)?;
    if run.truncated > 0.0 {
        let _ = writeln!(io::stderr(), "{:.1} % of the training inputs are cut at max_length", 100.0 * run.truncated);
    }
    for note in &run.notes {
        let _ = writeln!(io::stderr(), "{note}");
    }
    let stop = stop::flag().map_err(Failure::system)?;
    let control =
        Control { stop: &stop, resume_interval: Duration::from_secs(args.resume_seconds), still_ours: &|| true };
    let mut line = ProgressLine::new();
    let outcome = run.train(&control, &mut |progress| line.show(progress));
    line.finish();
    match outcome.map_err(failure)? {
        Outcome::Done(scores) => {
            write_scores(args.json, &run, &scores, out).map_err(Failure::output)?;
            Ok(exit::OK)
        }
        Outcome::Stopped { step } => {
            let folder = run.folder.path().display();
            let _ = writeln!(
                io::stderr(),
                "stopped after step {step}; state saved in {folder}; run the same command again"
            );
            Ok(exit::WORK_LEFT)
        }
    }
}

fn write_scores(as_json: bool, run: &Run, scores: &Scores, out: &mut impl Write) -> io::Result<()> {
    if as_json {
        let value = json!({"schema": "stepstone.train/1", "run": run.folder.path(), "scores": scores});
        return writeln!(out, "{value}");
    }
    for score in scores.scores.iter().chain(&scores.parts) {
        writeln!(out, "{:<24} {:.4}", score.name, score.value)?;
    }
    writeln!(out, "{:<24} {:.4}", "majority_score", scores.majority_score)?;
    writeln!(out, "run {} in {}", scores.run_id, run.folder.path().display())
}
