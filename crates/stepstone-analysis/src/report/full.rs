//! `report.md`: the whole analysis as Markdown, findings first.

use std::fmt::Write as _;

use super::{markdown, words};
use crate::analysis::Analysis;
use crate::averages::Average;
use crate::best::Best;
use crate::correlations::Pair;
use crate::correlations::words::{Wording, wording};
use crate::finding::Figure;
use crate::format::{confidence, list, markdown as escape, p_value, plain, signed};
use crate::options::Mode;

/// The report of one analysis, in the mode that its options choose.
pub fn report(analysis: &Analysis) -> String {
    let mode = analysis.options.mode;
    let mut text = format!("# {}\n\n", escape(&words::title_of(analysis)));
    // Conclusions before tables: the first screen is all that most readers see.
    findings(&mut text, analysis);
    section(&mut text, Figure::TransferMatrix.title(), &markdown::transfer(analysis, mode));
    section(&mut text, "Scores", &markdown::scores(analysis, mode));
    section(&mut text, Figure::Averages.title(), &averages(analysis, mode));
    section(&mut text, Figure::BestStart.title(), &best(analysis, mode));
    section(&mut text, Figure::DegenerateRuns.title(), &degenerate(analysis));
    section(&mut text, Figure::Correlations.title(), &correlations(analysis, mode));
    section(&mut text, Figure::Relations.title(), &relations(analysis, mode));
    section(&mut text, Figure::Additivity.title(), &additivity(analysis, mode));
    section(&mut text, Figure::Reliability.title(), &reliability(analysis, mode));
    section(&mut text, Figure::Power.title(), &power(analysis, mode));
    section(&mut text, "Input", &input(analysis));
    text
}

fn section(text: &mut String, heading: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(text, "\n## {heading}\n\n{}\n", body.trim_end());
    }
}

fn findings(text: &mut String, analysis: &Analysis) {
    text.push_str("## Findings\n\n");
    for finding in &analysis.findings {
        let _ = writeln!(text, "- {} *({})*", escape(&finding.text), finding.figure.title());
    }
    if analysis.findings.is_empty() {
        text.push_str("Nothing can be said about these observations.\n");
    }
}

/// A Markdown table; the first column is text, the others numbers.
struct MarkdownTable(String);

impl MarkdownTable {
    fn new(columns: &[&str]) -> Self {
        let rule = "---:|".repeat(columns.len() - 1);
        Self(format!("| {} |\n|---|{rule}\n", columns.join(" | ")))
    }

    fn push(&mut self, cells: &[String]) {
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "\u{2013}".to_owned())
}

fn interval(lo: Option<f64>, hi: Option<f64>, decimals: usize) -> String {
    or_dash(lo.zip(hi).map(|(lo, hi)| format!("{} to {}", signed(lo, decimals), signed(hi, decimals))))
}

fn averages(analysis: &Analysis, mode: Mode) -> String {
    let averages = &analysis.modes.of(mode).averages;
    if averages.rows.is_empty() || averages.common_tasks.is_empty() {
        return String::new();
    }
    let level = confidence(analysis.options.alpha);
    let mut table = MarkdownTable::new(&[
        "intermediate",
        "average gain",
        &format!("{level}, these targets"),
        &format!("{level}, targets like these"),
        "Holm p",
        "gains",
        "rank",
        "expected rank",
    ]);
    let mut rows: Vec<&Average> = averages.rows.iter().collect();
    let mean = |row: &Average| row.mean.unwrap_or(f64::NEG_INFINITY);
    rows.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    for row in rows {
        let rank = row.rank.lo.zip(row.rank.hi).map(|(lo, hi)| format!("{lo} to {hi}"));
        table.push(&[
            escape(&row.intermediate),
            or_dash(row.mean.map(|mean| signed(mean, 1))),
            interval(row.interval.lo, row.interval.hi, 1),
            interval(row.general.lo, row.general.hi, 1),
            or_dash(row.p_holm.map(p_value)),
            format!("{} of {}", row.wins, row.n_tasks),
            or_dash(rank),
            or_dash(row.rank.expected.map(|rank| plain(rank, 1))),
        ]);
    }
    let names: Vec<String> = averages.common_tasks.iter().map(|task| escape(task)).collect();
    let _ = writeln!(
        table.0,
        "\nOver {}. Ranks hold for all rows at once (Holm over pairs). The second interval treats the targets as a sample of \
         similar targets; it errs on the wide side. Averages mix metrics.",
        list(&names)
    );
    table.0
}

fn best(analysis: &Analysis, mode: Mode) -> String {
    let rows: Vec<&Best> = analysis.modes.of(mode).best.iter().filter(|best| !best.candidates.is_empty()).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut table = MarkdownTable::new(&[
        "target",
        "best mean",
        "gain",
        "best after shrinking",
        "gain after shrinking",
        "P(best)",
        "contenders",
    ]);
    for best in rows {
        let top = best.top.as_deref().and_then(|top| best.candidate(top));
        let shrunk = best.top_shrunk.as_deref().and_then(|top| best.candidate(top));
        let contenders: Vec<String> = best
            .candidates
            .iter()
            .filter(|candidate| candidate.contender)
            .map(|candidate| escape(&candidate.intermediate))
            .collect();
        table.push(&[
            escape(&best.task),
            or_dash(top.map(|top| escape(&top.intermediate))),
            or_dash(top.map(|top| signed(top.delta, 1))),
            or_dash(shrunk.map(|top| escape(&top.intermediate))),
            or_dash(shrunk.and_then(|top| top.delta_shrunk).map(|delta| signed(delta, 1))),
            or_dash(top.map(|top| plain(top.p_best, 2))),
            contenders.join(", "),
        ]);
    }
    let _ = writeln!(
        table.0,
        "\nContenders are not significantly below the best mean (Holm within the target); where `{}` is one, no start point \
         is shown to help. A winner's gain is too large because it was chosen for its size: read the gain after shrinking. P(best) \
         assumes equal prior chances.",
        escape(&analysis.options.baseline)
    );
    table.0
}

fn degenerate(analysis: &Analysis) -> String {
    let degenerate = &analysis.degenerate;
    if degenerate.n == 0 {
        return String::new();
    }
    let mut table = MarkdownTable::new(&["start point", "degenerate", "of runs", "p"]);
    for (name, start) in &degenerate.by_intermediate {
        let p = or_dash(start.cmh_p.map(p_value));
        table.push(&[escape(name), start.n.to_string(), start.of.to_string(), p]);
    }
    let reasons: Vec<String> = degenerate.by_reason.iter().map(|(reason, n)| format!("{n} by {reason}")).collect();
    let _ = writeln!(
        table.0,
        "\nRules: {}. p compares with the baseline over the targets (Cochran-Mantel-Haenszel); with fewer than five runs, \
         rely on the counts.",
        list(&reasons)
    );
    table.0
}

/// Pairs that are listed; correlations.csv has all of them.
// Nobody reads a table of some 300 pairs.
const MOST_PAIRS: usize = 30;

fn correlations(analysis: &Analysis, mode: Mode) -> String {
    let correlations = &analysis.modes.of(mode).correlations;
    let mut pairs: Vec<&Pair> = correlations.pairs.iter().filter(|pair| pair.means.rho.is_some()).collect();
    if pairs.is_empty() {
        return String::new();
    }
    // 2 is above every p-value, so that pairs without one come last.
    let key = |pair: &Pair| (pair.means.p.unwrap_or(2.0), -pair.means.rho.unwrap_or(0.0).abs());
    pairs.sort_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
    let said =
        pairs.iter().filter(|pair| wording(&pair.adjusted, analysis.options.alpha) != Wording::NumberOnly).count();
    // All pairs that carry a statement, at least ten for context, and no more than a reader looks through.
    pairs.truncate(said.clamp(10, MOST_PAIRS));
    let mut table =
        MarkdownTable::new(&["pair", "rho of means", "Holm p", "cluster p", "rho of rows", "without one", "in words"]);
    for pair in pairs {
        let without = pair.left_out.min.zip(pair.left_out.max).map(|(lo, hi)| {
            let name = pair.left_out.name.as_deref().map_or_else(String::new, |name| format!(" ({})", escape(name)));
            format!("{} to {}{name}", plain(lo, 2), plain(hi, 2))
        });
        table.push(&[
            format!("{} \u{2013} {}", escape(&pair.x), escape(&pair.y)),
            or_dash(pair.means.rho.map(|rho| plain(rho, 2))),
            or_dash(pair.adjusted.holm_means.map(p_value)),
            or_dash(pair.permutation.p.map(p_value)),
            or_dash(pair.rows.rho.map(|rho| plain(rho, 2))),
            or_dash(without),
            wording(&pair.adjusted, analysis.options.alpha).words().unwrap_or("").to_owned(),
        ]);
    }
    let _ = writeln!(
        table.0,
        "\nSpearman; {} rows of {} intermediates; families: {} pairs on means, {} on rows, {} entries as in the ACL 2020 \
         study. \"Without one\" is the range of rho when one intermediate is left out, and the one that moves it most. Both \
         columns are outcomes of the same checkpoints: no skill is shown to drive another. All pairs: correlations.csv.",
        correlations.rows,
        correlations.clusters,
        correlations.family_sizes.means,
        correlations.family_sizes.distinct,
        correlations.family_sizes.acl2020
    );
    table.0
}

fn relations(analysis: &Analysis, mode: Mode) -> String {
    let mut table = MarkdownTable::new(&["relation", "rho", &confidence(analysis.options.alpha), "p", "n"]);
    let defined = || analysis.modes.of(mode).relations.iter().filter(|relation| relation.rho.is_some());
    for relation in defined() {
        table.push(&[
            escape(&relation.name),
            or_dash(relation.rho.map(|rho| plain(rho, 2))),
            interval(relation.lo, relation.hi, 2),
            or_dash(relation.p.map(p_value)),
            relation.n.to_string(),
        ]);
    }
    if defined().next().is_some() { table.0 } else { String::new() }
}

fn additivity(analysis: &Analysis, mode: Mode) -> String {
    let Some(fit) = &analysis.modes.of(mode).additivity else { return String::new() };
    let mut table = MarkdownTable::new(&["part", "sum of squares"]);
    for (name, squares) in [
        ("intermediate", fit.ss_intermediate),
        ("target", fit.ss_task),
        ("residual", fit.ss_residual),
        ("total", fit.ss_total),
    ] {
        table.push(&[name.to_owned(), plain(squares, 2)]);
    }
    let noise = fit.noise.share.map(|share| format!("; seed noise is {} % of the residual", plain(100.0 * share, 0)));
    let tukey = fit.tukey.p.map(|p| format!("; Tukey's test p {}", p_value(p)));
    let _ = writeln!(
        table.0,
        "\nR\u{b2} {} over {} deltas{}{}.",
        plain(fit.r2, 2),
        fit.n,
        noise.unwrap_or_default(),
        tukey.unwrap_or_default()
    );
    table.0
}

fn reliability(analysis: &Analysis, mode: Mode) -> String {
    let rows = &analysis.modes.of(mode).reliability;
    if rows.iter().all(|row| row.icck.is_none()) {
        return String::new();
    }
    let mut table = MarkdownTable::new(&["task", "one restart", "mean of restarts", "p", "standard error of a score"]);
    // Estimates below 0 mean "none", and their size has no meaning.
    let icc = |icc: f64| if icc < 0.0 { "< 0".to_owned() } else { plain(icc, 2) };
    for row in rows {
        table.push(&[
            escape(&row.task),
            or_dash(row.icc1.map(icc)),
            or_dash(row.icck.map(icc)),
            or_dash(row.p.map(p_value)),
            or_dash(row.sem.map(|sem| plain(sem, 1))),
        ]);
    }
    table
        .0
        .push_str("\nIntraclass correlation over intermediates; below 0.5 a column is too noisy for correlations.\n");
    table.0
}

fn power(analysis: &Analysis, mode: Mode) -> String {
    let rows = &analysis.modes.of(mode).power;
    let Some(first) = rows.first() else { return String::new() };
    let differences: Vec<&String> = first.seeds.keys().collect();
    let heads: Vec<String> = differences.iter().map(|difference| format!("{difference} points")).collect();
    let mut columns = vec!["target", "sd of a restart"];
    columns.extend(heads.iter().map(String::as_str));
    let mut table = MarkdownTable::new(&columns);
    for row in rows {
        let mut cells = vec![escape(&row.task), or_dash(row.sd.map(|sd| plain(sd, 2)))];
        let needed =
            |difference: &&String| or_dash(row.seeds.get(*difference).copied().flatten().map(|n| n.to_string()));
        cells.extend(differences.iter().map(needed));
        table.push(&cells);
    }
    table.0.push_str("\nRestarts in each arm to show a difference in one cell, power 0.8 at 0.05.\n");
    table.0
}

fn input(analysis: &Analysis) -> String {
    let input = &analysis.input;
    let mut text = format!("- {} observations: {} with a score, {} without.\n", input.rows, input.used, input.failed);
    for note in &input.notes {
        let _ = writeln!(text, "- {}", escape(note));
    }
    let hints = &analysis.hints;
    for suspect in &hints.suspects {
        let _ = writeln!(
            text,
            "- Suspect, not flagged: {} on {}, seed {}: {} where the median is {}.",
            escape(&suspect.intermediate),
            escape(&suspect.task),
            suspect.seed,
            plain(suspect.score, 1),
            plain(suspect.median, 1)
        );
    }
    let bimodal: Vec<String> = hints.bimodal.iter().map(|task| escape(&task.task)).collect();
    if !bimodal.is_empty() {
        let _ = writeln!(text, "- Not flagged, but worth a look: the runs on {} fall into two groups.", list(&bimodal));
    }
    text
}
