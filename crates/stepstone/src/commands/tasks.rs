//! `stepstone tasks`: lists the catalogue, and shows examples as a model sees them.

use crate::exit::{self, Failure};
use crate::flags;
use crate::progress::say;
use crate::remedy::Setting;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;
use stepstone_models::EncoderConfig;
use stepstone_tasks::{Example, Files, Task, TaskHead, Text, Tokenizer, find, load, tasks};
use stepstone_train::{TrainError, tokenizer_family};

/// List the tasks that stepstone knows, or show one example as a model sees it
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
}

/// List all tasks with their metrics and labels.
///
/// Example: stepstone tasks list
#[derive(clap::Args)]
struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Show one example as a model sees it: its texts, with --model its tokens, and the gold label.
///
/// Example: stepstone tasks show copa --data data --example 3 --model models/all-MiniLM-L6-v2
#[derive(clap::Args)]
struct ShowArgs {
    /// Name of the task
    task: String,
    /// Folder that holds one folder per task
    #[arg(long)]
    data: PathBuf,
    /// Number of the example in its split, from 0
    #[arg(long, default_value_t = 0, value_parser = flags::index())]
    example: usize,
    /// Split
    #[arg(long, default_value = "train", value_parser = ["train", "dev"])]
    split: String,
    /// Hugging Face folder whose tokenizer splits the texts
    #[arg(long)]
    model: Option<PathBuf>,
    /// Maximum number of tokens per input; longer inputs are truncated
    #[arg(long, default_value_t = 256, value_parser = flags::index())]
    max_length: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Writes the list or the example to `out`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    match &args.command {
        Command::List(args) if args.json => {
            let rows: Vec<Value> = tasks().map(row_as_json).collect();
            writeln!(out, "{}", json!({"schema": "stepstone.tasks/1", "tasks": rows})).map_err(Failure::output)?;
        }
        Command::List(_) => write_list(out).map_err(Failure::output)?,
        Command::Show(args) => return show(args, out),
    }
    Ok(exit::OK)
}

fn head(task: &Task) -> &'static str {
    match task.head {
        TaskHead::Classification => "classification",
        TaskHead::MultipleChoice => "multiple choice",
    }
}

fn row_as_json(task: &Task) -> Value {
    json!({
        "name": task.name, "head": head(task), "metric": task.metric.name(), "labels": task.labels,
        "folders": task.files.folders, "licence": task.licence, "citation": task.citation,
    })
}

fn write_list(out: &mut impl Write) -> io::Result<()> {
    let labels = |task: &Task| match task.head {
        TaskHead::Classification => task.labels.join(", "),
        TaskHead::MultipleChoice => format!("{} choices", task.labels.len()),
    };
    writeln!(out, "{:<13}  {:<20}  LABELS", "TASK", "METRIC")?;
    // The catalogue is ordered by benchmark, but a reader looks for a name.
    let mut sorted: Vec<&Task> = tasks().collect();
    sorted.sort_by_key(|task| task.name);
    for task in sorted {
        writeln!(out, "{:<13}  {:<20}  {}", task.name, task.metric.name(), labels(task))?;
    }
    writeln!(
        out,
        "\nThe official files of a task go into a folder with its name.\n--json adds folders, licences and papers."
    )
}

fn show(args: &ShowArgs, out: &mut impl Write) -> Result<u8, Failure> {
    let what = || format!("cannot show task {}", args.task);
    let failure = |error: TrainError| Failure::new(what(), &error, &Setting::Flag);
    let task = find(&args.task).map_err(|error| failure(error.into()))?;
    let data = load(task, &args.data, &Files::default()).map_err(|error| failure(error.into()))?;
    let examples = if args.split == "dev" { &data.dev } else { &data.train };
    let Some(example) = examples.get(args.example) else {
        // No underflow, because loading refuses a split without rows.
        let (number, split, last) = (args.example, &args.split, examples.len() - 1);
        let found = format!("there is no example {number} in the {split} split of {}", task.name);
        return Err(Failure::usage(found, format!("give a number from 0 to {last}")));
    };
    let tokens = args.model.as_ref().map(|model| {
        let config = EncoderConfig::read(model)?;
        let tokenizer = Tokenizer::load(model, tokenizer_family(config.family), args.max_length)?;
        let features = tokenizer.encode(&example.text)?;
        Ok(features.iter().map(|feature| tokenizer.tokens(&feature.ids)).collect::<Vec<_>>())
    });
    let tokens = tokens.transpose().map_err(failure)?;
    let gold = example.gold.map(|gold| task.labels[gold as usize]);
    if args.json {
        let texts = sequences(example);
        let value = json!({
            "schema": "stepstone.example/1", "task": task.name, "split": args.split, "id": example.id, "texts": texts,
            "tokens": tokens, "gold": gold, "notes": data.notes,
        });
        writeln!(out, "{value}").map_err(Failure::output)?;
    } else {
        for note in &data.notes {
            say(note);
        }
        write_example(task, args, example, tokens.as_deref(), gold, out).map_err(Failure::output)?;
    }
    Ok(exit::OK)
}

/// The texts of each sequence of an example.
fn sequences(example: &Example) -> Vec<Vec<&str>> {
    match &example.text {
        Text::Single(text) => vec![vec![text]],
        Text::Pair(first, second) => vec![vec![first, second]],
        Text::Choices(pairs) => pairs.iter().map(|(first, second)| vec![first.as_str(), second]).collect(),
    }
}

fn write_example(
    task: &Task,
    args: &ShowArgs,
    example: &Example,
    tokens: Option<&[Vec<String>]>,
    gold: Option<&str>,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{} {} {}, id {}: {}", task.name, args.split, args.example, example.id, head(task))?;
    for (number, texts) in sequences(example).into_iter().enumerate() {
        match task.head {
            TaskHead::Classification => writeln!(out)?,
            TaskHead::MultipleChoice => writeln!(out, "\nchoice {}", task.labels[number])?,
        }
        for text in texts {
            writeln!(out, "  text    {text}")?;
        }
        if let Some(tokens) = tokens {
            writeln!(out, "  tokens  {}  ({})", tokens[number].join(" "), tokens[number].len())?;
        }
    }
    writeln!(
        out,
        "\ngold label: {} (of {}); metric: {}",
        gold.unwrap_or("none"),
        task.labels.join(", "),
        task.metric.name()
    )
}
