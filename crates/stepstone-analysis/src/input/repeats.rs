//! Lines that say the same as an earlier one, whatever their spelling: they count once.
//!
//! Result files are joined and rewritten by other programs: pandas turns `true` into `True` and, in a column with gaps,
//! `277` into `277.0`. Such a copy is not a second measurement, and calling it a conflict would ask the user to
//! choose between equals.

use super::header::Header;
use super::records::split;
use super::row::{FileRows, Row, flag};
use crate::column::{Column, Content};

/// The lines that were left out as repetitions.
#[derive(Default)]
pub(super) struct Repeated {
    /// Number of lines.
    pub(super) count: usize,
    /// The first repeat in the order of the observations, and the line that it repeats.
    pub(super) example: Option<(u64, u64)>,
}

impl Repeated {
    /// The lines of one run that say something new. Lines are in file order, so that the first is kept.
    pub(super) fn without<'a>(&mut self, lines: &[&'a Row], table: &FileRows<'_>, header: &Header) -> Vec<&'a Row> {
        let mut kept: Vec<&Row> = Vec::new();
        for row in lines {
            match kept.iter().find(|earlier| same_line(table.body, earlier.offset, row.offset, header)) {
                None => kept.push(row),
                Some(earlier) => {
                    self.count += 1;
                    self.example.get_or_insert((row.line, earlier.line));
                }
            }
        }
        kept
    }
}

/// True if the records at two offsets agree in every column.
fn same_line(body: &str, a: usize, b: usize, header: &Header) -> bool {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    split(&body[a..], &mut left);
    split(&body[b..], &mut right);
    let cells = left.iter().zip(&right).zip(&header.known);
    // Only lines of one run get here, so that splitting them again costs little, and rows need not keep every cell.
    left.len() == right.len() && cells.clone().all(|((a, b), column)| same_cell(*column, &a.value(), &b.value()))
}

/// True if two cells of a column mean the same. A column that is not ours may hold anything: there, cells are the same
/// if they are so as text, as numbers or as flags.
fn same_cell(column: Option<Column>, a: &str, b: &str) -> bool {
    let (a_trimmed, b_trimmed) = (a.trim(), b.trim());
    match column.map(Column::content) {
        Some(Content::Text) => a == b,
        Some(Content::Number) => same_number(a_trimmed, b_trimmed),
        Some(Content::Flag(default)) => {
            let value = |text: &str| if text.is_empty() { Some(default) } else { flag(text) };
            value(a_trimmed) == value(b_trimmed)
        }
        Some(Content::Word(default)) => {
            let is_default = |text: &str| text.is_empty() || text == default;
            a_trimmed == b_trimmed || is_default(a_trimmed) && is_default(b_trimmed)
        }
        None => {
            let number = |text: &str| text.parse::<f64>().ok();
            a_trimmed == b_trimmed
                || number(a_trimmed).zip(number(b_trimmed)).is_some_and(|(a, b)| a == b)
                || flag(a_trimmed).zip(flag(b_trimmed)).is_some_and(|(a, b)| a == b)
        }
    }
}

/// Equal numbers, or missing on both sides. Seeds may exceed what f64 holds exactly, so whole numbers go first.
fn same_number(a: &str, b: &str) -> bool {
    if let (Ok(a), Ok(b)) = (a.parse::<i64>(), b.parse::<i64>()) {
        return a == b;
    }
    let finite = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    finite(a) == finite(b)
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    /// What a file of observations gives: the number of lines that count and the notes, or line and problem.
    fn read(text: &str) -> Result<(usize, Vec<String>), (Option<u64>, String)> {
        match parse("o.csv", text.as_bytes()) {
            Ok(mut read) => {
                let study = read.studies.remove(0);
                Ok((study.lines, [study.notes, read.notes].concat()))
            }
            Err(error) => Err((error.line, error.problem.to_string())),
        }
    }

    const HEADER: &str = "intermediate,seed,task,role,score\n";

    #[test]
    fn a_line_that_an_earlier_one_says_already_counts_once_whatever_its_spelling() {
        let tables: &[(&str, &str)] = &[
            ("intermediate,seed,task,role,score", "none,0,rte,target,0.6\nnone,0,rte,target,0.60"),
            ("intermediate,seed,task,role,score", "none,0,rte,target,0.6\nnone,0.0,rte,target,6e-1"),
            (
                "intermediate,seed,task,role,score,primary,n_dev",
                "none,0,rte,target,0.5,true,277\nnone,0,rte,target,0.5,True,277.0",
            ),
            (
                "intermediate,seed,task,role,score,primary,degenerate",
                "none,0,rte,target,0.5,,\nnone,0,rte,target,0.5,1,FALSE",
            ),
            ("intermediate,seed,task,role,score,status", "none,0,rte,target,0.5,\nnone,0,rte,target,0.5, ok"),
            ("intermediate,seed,task,role,score,status", "none,0,rte,target,,failed\nnone,0,rte,target,nan,failed"),
            ("intermediate,seed,task,role,score,host", "none,0,rte,target,0.5,1\nnone,0,rte,target,0.5,1.0"),
            ("intermediate,seed,task,role,score,host", "none,0,rte,target,0.5,true\nnone,0,rte,target,0.5,True"),
        ];
        for (header, lines) in tables {
            let (count, notes) = read(&format!("{header}\n{lines}\n")).unwrap_or_else(|e| panic!("{lines}: {e:?}"));
            assert_eq!(count, 1, "{lines}");
            let note = "1 line repeats another in every column and counts once (line 3 = line 2)";
            assert!(notes.iter().any(|n| n == note), "{lines}: {notes:?}");
        }
    }

    #[test]
    fn two_different_scores_of_one_run_stay_a_conflict_with_both_lines() {
        let tables: &[(&str, &str)] = &[
            ("intermediate,seed,task,role,score", "mnli,0,rte,target,0.6\nmnli,0,rte,target,0.7"),
            ("intermediate,seed,task,role,score,n_dev", "mnli,0,rte,target,0.6,277\nmnli,0,rte,target,0.6,276"),
            ("intermediate,seed,task,role,score,run_id", "mnli,0,rte,target,0.6,1\nmnli,0,rte,target,0.6,1.0"),
            ("intermediate,seed,task,role,score,host", "mnli,0,rte,target,0.6,a\nmnli,0,rte,target,0.6,b"),
        ];
        for (header, lines) in tables {
            let (line, problem) = read(&format!("{header}\n{lines}\n")).expect_err(lines);
            assert_eq!(line, Some(3), "{lines}");
            assert!(problem.starts_with("conflicts with line 2"), "{lines}: {problem}");
        }
    }

    #[test]
    fn the_header_of_a_second_file_after_the_first_is_skipped_with_a_note() {
        let joined = format!("{HEADER}none,0,rte,target,0.5\n{HEADER}mnli,0,rte,target,0.6\n");
        let (count, notes) = read(&joined).expect("two files, one after the other");
        assert_eq!(count, 2);
        let note = "line 3 repeats the header and was skipped: were files joined?";
        assert!(notes.iter().any(|n| n == note), "{notes:?}");
    }

    #[test]
    fn a_file_that_was_cut_is_refused_in_mid_line_and_noted_in_mid_number() {
        let (line, problem) = read(&format!("{HEADER}none,0,rte,target,0.5\nmnli,1,rte,tar")).expect_err("cut");
        assert_eq!(line, Some(3));
        assert!(problem.starts_with("the file ends in the middle of this line: 4 of 5 fields"), "{problem}");
        let (count, notes) = read(&format!("{HEADER}none,0,rte,target,0.5\nmnli,1,rte,target,0.6")).expect("whole");
        assert_eq!(count, 2);
        assert!(notes.iter().any(|note| note.starts_with("the last line does not end in a newline")), "{notes:?}");
    }
}
