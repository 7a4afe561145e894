//! `stepstone analyze`: observations.csv to statistics, tables and findings.

use crate::commands::report::color;
use crate::destination;
use crate::exit::{self, Failure};
use crate::terminal::Terminal;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use stepstone_analysis::report::{self, Layout, csv};
use stepstone_analysis::{
    Agreement, Alpha, Analyses, Analysis, Family, InputError, Method, Mode, ObservationsFile, Options, Problem,
    agreement, analyze, parse, read,
};
use stepstone_files::write_atomically;

/// Say which intermediate tasks help, how sure that is, and why.
///
/// FILE has one line per run and metric. It needs the columns intermediate, seed, task, role and score. The row `none`
/// holds the runs that start from the pretrained encoder. docs/observations.md describes every column.
///
/// Example: stepstone analyze observations.csv --out results
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Observations, as CSV
    file: PathBuf,
    /// Print JSON (schema stepstone.analysis/1) instead of the summary
    #[arg(long)]
    json: bool,
    /// Folder for analysis.json, report.md, transfer.svg, cells.csv, averages.csv and correlations.csv
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Interval and test of a difference: moderated or welch
    #[arg(long, default_value = "moderated", value_parser = method)]
    method: Method,
    /// Family of correlation tests whose count the findings stress: means, distinct or acl2020; the column `in words`
    /// goes by the means
    #[arg(long, default_value = "means", value_parser = family)]
    family: Family,
    /// Level of the tests; intervals cover 1 - ALPHA
    #[arg(long, default_value = "0.05", value_parser = alpha)]
    alpha: Alpha,
    /// What the figures show: keep or drop degenerate runs (both are always computed)
    #[arg(long, default_value = "keep", value_parser = mode)]
    mode: Mode,
    /// Compare with another study of the same tasks: its observations.csv, or the analysis.json of one study
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Name of the row that starts from the pretrained encoder [default: none]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
}

// Parsed by hand, because the enums belong to a library that does not depend on clap.
fn method(word: &str) -> Result<Method, String> {
    [Method::Moderated, Method::Welch]
        .into_iter()
        .find(|method| method.name() == word)
        .ok_or_else(|| "expected moderated or welch".into())
}

fn family(word: &str) -> Result<Family, String> {
    let all = [Family::Means, Family::Distinct, Family::Acl2020];
    all.into_iter().find(|family| family.name() == word).ok_or_else(|| "expected means, distinct or acl2020".into())
}

fn mode(word: &str) -> Result<Mode, String> {
    [Mode::Keep, Mode::Drop].into_iter().find(|mode| mode.name() == word).ok_or_else(|| "expected keep or drop".into())
}

fn alpha(word: &str) -> Result<Alpha, String> {
    word.parse().ok().and_then(Alpha::new).ok_or_else(|| "expected a number between 0 and 1".into())
}

/// Analyses every (study, encoder) of the file.
pub(crate) fn run(args: &Args, out: &mut Terminal<impl Write>) -> Result<u8, Failure> {
    let observations = read(&args.file)
        .map_err(|error| Failure::observations(format!("cannot analyze {}", args.file.display()), &error))?;
    let options = options(args, &observations)?;
    let analyses: Vec<Analysis> = observations.studies.iter().map(|study| analyze(study, &options)).collect();
    let agreement = args.against.as_deref().map(|file| compare(args, &analyses, file, &options)).transpose()?;
    if let Some(dir) = &args.out {
        // Nothing is written before all analyses are done, so an error leaves no partial results.
        destination::check(&format!("cannot analyze {}", args.file.display()), dir, destination::of_analysis)?;
        write_all(dir, &analyses, agreement.as_ref())?;
    }
    let text = match &agreement {
        Some(agreement) if args.json => pretty(agreement),
        None if args.json => json(&analyses),
        _ => summary(&observations, &analyses, agreement.as_ref(), args.out.as_deref()),
    };
    out.write_styled(&text).map_err(Failure::output)?;
    Ok(exit::OK)
}

fn options(args: &Args, observations: &ObservationsFile) -> Result<Options, Failure> {
    let defaults = Options::default();
    // Only a name that the user typed must occur: without runs of `none`, the analysis says that it has no baseline.
    if let Some(baseline) = &args.baseline {
        let names = || observations.studies.iter().flat_map(|study| &study.intermediates);
        if !names().any(|name| name == baseline) {
            let what = format!("no row is named `{baseline}` in column `intermediate` of {}", args.file.display());
            let mut found: Vec<&str> = names().map(String::as_str).collect();
            found.sort_unstable();
            found.dedup();
            return Err(Failure::usage(what, format!("the column holds: {}", found.join(", "))));
        }
    }
    Ok(Options {
        method: args.method,
        family: args.family,
        alpha: args.alpha,
        mode: args.mode,
        baseline: args.baseline.clone().unwrap_or(defaults.baseline.clone()),
        ..defaults
    })
}

/// Compares the only study of this file with the one of another file.
fn compare(args: &Args, analyses: &[Analysis], file: &Path, options: &Options) -> Result<Agreement, Failure> {
    let one = |path: &Path, analyses: &[Analysis]| match analyses {
        [only] => Ok(only.clone()),
        several => {
            let what =
                format!("{} holds {} studies, and --against compares one with one", path.display(), several.len());
            Err(Failure::usage(what, "give a file with one study and one encoder".to_owned()))
        }
    };
    let other = other_analyses(file, options)?;
    Ok(agreement(&one(&args.file, analyses)?, &one(file, &other)?))
}

/// Analyses an observations.csv, or reads the analysis in an analysis.json.
fn other_analyses(file: &Path, options: &Options) -> Result<Vec<Analysis>, Failure> {
    let what = || format!("cannot compare with {}", file.display());
    let bytes = fs::read(file).map_err(|source| {
        let problem = Box::new(Problem::Open { source });
        Failure::observations(what(), &InputError { path: file.to_owned(), line: None, problem })
    })?;
    // The header of a CSV file never begins with a brace, so the format does not depend on the file's name.
    if bytes.first() == Some(&b'{') {
        // Such a file keeps no observations, so its analysis is compared with the options that it was made with.
        let analysis = serde_json::from_slice(&bytes).map_err(|error| Failure::data(what(), error.to_string()))?;
        return Ok(vec![analysis]);
    }
    let observations = parse(file, &bytes).map_err(|error| Failure::observations(what(), &error))?;
    Ok(observations.studies.iter().map(|study| analyze(study, options)).collect())
}

fn json(analyses: &[Analysis]) -> String {
    match analyses {
        [only] => pretty(only),
        several => pretty(&Analyses::new(several)),
    }
}

/// Formats a value as JSON. This cannot fail, because fields are numbers, strings or lists, and keys are strings.
fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn summary(
    observations: &ObservationsFile,
    analyses: &[Analysis],
    agreement: Option<&Agreement>,
    written: Option<&Path>,
) -> String {
    let layout = Layout { color: color(), ..Layout::default() };
    let each: Vec<String> = analyses.iter().map(|analysis| report::summary(analysis, layout)).collect();
    let mut text = each.join("\n");
    for note in &observations.notes {
        text.push_str(&report::item(note, layout.width));
    }
    if let Some(agreement) = agreement {
        text.push('\n');
        text.push_str(&report::agreement(agreement, layout.width));
    }
    if let Some(dir) = written {
        text.push_str(&report::item(&format!("written to {}", dir.display()), layout.width));
    }
    text
}

/// Writes one analysis into the folder itself, several into one subfolder each.
fn write_all(dir: &Path, analyses: &[Analysis], agreement: Option<&Agreement>) -> Result<(), Failure> {
    if let Some(agreement) = agreement {
        write_files(dir, &[("agreement.json", pretty(agreement))])?;
    }
    // The common case of one study gets the short paths that the help lists.
    if let [only] = analyses {
        return write_one(dir, only);
    }
    for (number, analysis) in analyses.iter().enumerate() {
        write_one(&dir.join(folder_name(number + 1, analysis)), analysis)?;
    }
    Ok(())
}

/// Name of a subfolder. It has a number, because two names may be equal once unsafe characters are replaced.
fn folder_name(number: usize, analysis: &Analysis) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    // Cut to 60 characters, because file systems limit the length of a name.
    let name: String = format!("{}-{}", analysis.study, analysis.encoder).chars().map(safe).take(60).collect();
    format!("{number:02}-{}", name.trim_matches('-'))
}

fn write_one(dir: &Path, analysis: &Analysis) -> Result<(), Failure> {
    let files = [
        ("analysis.json", json(std::slice::from_ref(analysis))),
        ("report.md", report::report(analysis)),
        ("transfer.svg", report::svg(analysis, analysis.options.mode)),
        ("cells.csv", csv::cells(analysis)),
        ("averages.csv", csv::averages(analysis)),
        ("correlations.csv", csv::correlations(analysis)),
    ];
    write_files(dir, &files)
}

fn write_files(dir: &Path, files: &[(&str, String)]) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|error| Failure::write(dir, &error))?;
    for (name, text) in files {
        let path = dir.join(name);
        write_atomically(&path, text.as_bytes()).map_err(|error| Failure::write(&path, &error))?;
    }
    Ok(())
}
