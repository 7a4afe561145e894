//! Multiple choice, companion files and replaced files: what is refused with which message, and what is accepted.

use std::fs;
use stepstone_tasks::{DataError, Files, TaskData, Text, find, load};

/// A copy of the made-up data of one task, in which files can be changed or removed.
struct Place {
    data: tempfile::TempDir,
}

impl Place {
    fn of(folder: &str) -> Self {
        let data = tempfile::tempdir().expect("temporary folder");
        let from = stepstone_fixtures::tasks().join(folder);
        fs::create_dir(data.path().join(folder)).expect("folder");
        for entry in fs::read_dir(from).expect("made-up data") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), data.path().join(folder).join(entry.file_name())).expect("copies");
        }
        Self { data }
    }

    fn with(self, file: &str, bytes: &[u8]) -> Self {
        fs::write(self.data.path().join(file), bytes).expect("file");
        self
    }

    fn without(self, file: &str) -> Self {
        fs::remove_file(self.data.path().join(file)).expect("file");
        self
    }

    fn load(&self, task: &str, files: &Files) -> Result<TaskData, DataError> {
        load(find(task).expect(task), self.data.path(), files)
    }

    fn refusal(&self, task: &str) -> String {
        let error = self.load(task, &Files::default()).expect_err(task);
        assert!(error.hint().is_some(), "{error}");
        error.to_string().replace(&format!("{}/", self.data.path().display()), "")
    }
}

const COPA: &str = r#"{"premise": "P", "choice1": "A", "choice2": "B", "question": "cause", "label": 0, "idx": 0}"#;
const CSQA: &str =
    r#"{"answerKey": "A", "id": "q", "question": {"stem": "S", "choices": [{"label": "A", "text": "a"}]}}"#;
const HELLASWAG: &str = r#"{"ind": 0, "ctx": "C", "endings": ["a", "b", "c", "d"], "label": 4}"#;
const SIQA: &str = r#"{"context": "C", "question": "Q", "answerA": "a", "answerB": "b", "answerC": "c"}"#;

#[test]
fn every_bad_row_of_every_form_is_named_with_file_line_and_what_was_expected() {
    let copa = |from: &str, to: &str| format!("{COPA}\n{}\n", COPA.replace(from, to)).into_bytes();
    let table: Vec<(&str, &str, &str, Vec<u8>, &str)> = vec![
        ("copa", "copa", "train.jsonl", copa("cause", "why"), ":2: question `why`, expected `cause` or `effect`"),
        (
            "copa",
            "copa",
            "train.jsonl",
            copa("\"label\": 0", "\"label\": 2"),
            ":2: label `2`, expected one of `0`, `1`",
        ),
        ("copa", "copa", "train.jsonl", copa("\"choice2\": \"B\", ", ""), ":2: no field `choice2`"),
        ("copa", "copa", "train.jsonl", copa("\"B\"", "\" \""), ":2: field `choice2` is empty, expected text"),
        ("copa", "copa", "train.jsonl", copa(", \"label\": 0", ""), ":2: no label, expected one of `0`, `1`"),
        (
            "copa",
            "copa",
            "train.jsonl",
            format!("{COPA}\n\n{COPA}\n").into(),
            ":2: an empty line, expected a JSON object",
        ),
        (
            "copa",
            "copa",
            "train.jsonl",
            format!("{COPA}\n{}", &COPA[..30]).into(),
            ":2: EOF while parsing a string at column 30, expected a JSON object",
        ),
        ("commonsenseqa", "commonsenseqa", "train_rand_split.jsonl", CSQA.into(), ":1: 1 choices, expected 5"),
        (
            "commonsenseqa",
            "commonsenseqa",
            "train_rand_split.jsonl",
            br#"{"answerKey": "A", "id": "q"}"#.to_vec(),
            ":1: no field `question`, expected an object with `stem` and `choices`",
        ),
        (
            "hellaswag",
            "hellaswag",
            "hellaswag_train.jsonl",
            HELLASWAG.into(),
            ":1: label `4`, expected one of `0`, `1`, `2`, `3`",
        ),
        (
            "hellaswag",
            "hellaswag",
            "hellaswag_train.jsonl",
            HELLASWAG.replace("\"b\"", "7").into(),
            ":1: an ending is empty or not text, expected text",
        ),
        ("socialiqa", "socialiqa", "train.jsonl", SIQA.replace("\"C\"", "null").into(), ":1: no field `context`"),
        (
            "socialiqa",
            "socialiqa",
            "train-labels.lst",
            b"1\n2\n3\n1\n2\n3\n1\n4\n".to_vec(),
            ":8: label `4`, expected one of `1`, `2`, `3`",
        ),
        (
            "scitail",
            "scitail",
            "scitail_1.0_train.tsv",
            b"A\tB\tneut\n".to_vec(),
            ":1: label `neut`, expected one of `neutral`, `entails`",
        ),
        (
            "scitail",
            "scitail",
            "scitail_1.0_train.tsv",
            b"A\xff\tB\tneutral\n".to_vec(),
            ":1: byte 0xff at offset 1 is not valid UTF-8, expected UTF-8 text",
        ),
        (
            "boolq",
            "boolq",
            "train.jsonl",
            br#"{"passage": "P", "question": "Q", "label": 1}"#.to_vec(),
            ":1: label `1`, expected one of `false`, `true`",
        ),
        (
            "aj-eos",
            "aj",
            "acceptability-eos_data.json",
            b"[\n{\"context\": 1,\n".to_vec(),
            ":3: EOF while parsing an object, expected a JSON array of objects",
        ),
        (
            "aj-eos",
            "aj",
            "acceptability-eos_data.json",
            b"[\n {\"pair-id\": 7000, \"context\": \"a\", \"hypothesis\": \"b\", \"label\": \"odd\"}\n]".to_vec(),
            ":2: label `odd`, expected one of `unacceptable`, `acceptable`",
        ),
        (
            "aj-eos",
            "aj",
            "acceptability-eos_data.json",
            b"[{\"pair-id\": 1, \"context\": \"a\", \"hypothesis\": \"b\", \"label\": \"acceptable\"}]".to_vec(),
            ":1: pair-id 1 is not in the metadata file",
        ),
        (
            "aj-eos",
            "aj",
            "acceptability-eos_metadata.json",
            b"[\n\n{\"pair-id\": 7000}]".to_vec(),
            ":3: missing field `misc`, expected `pair-id` and `misc.fold1`",
        ),
    ];
    for (task, folder, file, bytes, want) in table {
        let place = Place::of(folder).with(&format!("{folder}/{file}"), &bytes);
        assert_eq!(place.refusal(task), format!("{folder}/{file}{want}"));
    }
}

#[test]
fn companion_files_must_exist_and_match_the_rows_in_number() {
    let short = Place::of("socialiqa").with("socialiqa/train-labels.lst", b"1\n2\n");
    assert_eq!(
        short.refusal("socialiqa").replace(&short.data.path().display().to_string(), "DATA"),
        "socialiqa/train-labels.lst:2: 2 labels, but socialiqa/train.jsonl has 8 rows"
    );
    let none = Place::of("socialiqa").without("socialiqa/train-labels.lst").refusal("socialiqa");
    assert!(none.starts_with("socialiqa/train.jsonl:1: no label, expected one of `A`, `B`, `C`"), "{none}");
    let metadata = Place::of("aj").without("aj/acceptability-eos_metadata.json").refusal("aj-eos");
    assert_eq!(metadata, "aj has no file `acceptability-eos_metadata.json`");
    // In the layout of version 1.4 each row has its own answer, so the companion file is not needed.
    let rows = format!("{}\n", SIQA.replace('}', ", \"correct\": \"C\"}")).repeat(2);
    let own =
        Place::of("socialiqa").with("socialiqa/train.jsonl", rows.as_bytes()).without("socialiqa/train-labels.lst");
    assert_eq!(own.load("socialiqa", &Files::default()).expect("reads").train[1].gold, Some(2));
}

#[test]
fn a_byte_order_mark_crlf_a_lone_quote_and_an_empty_last_line_are_accepted_in_every_form() {
    let copa = format!("\u{feff}{COPA}\r\n{}\r\n\r\n", COPA.replace("\"P\"", r#""P says \"so""#));
    let data =
        Place::of("copa").with("copa/train.jsonl", copa.as_bytes()).load("copa", &Files::default()).expect("reads");
    assert_eq!(data.train.len(), 2);
    assert!(matches!(&data.train[1].text, Text::Choices(pairs) if pairs[0].0 == "P says \"so"));
    let scitail = "\u{feff}A \"quote\tB\tneutral\r\nC\tD\tentails\r\n\r\n";
    let place = Place::of("scitail").with("scitail/scitail_1.0_train.tsv", scitail.as_bytes());
    assert_eq!(place.load("scitail", &Files::default()).expect("reads").train.len(), 2);
    let labels = "\u{feff}1\r\n2\r\n3\r\n1\r\n2\r\n3\r\n1\r\n2\r\n\r\n";
    let place = Place::of("socialiqa").with("socialiqa/train-labels.lst", labels.as_bytes());
    assert_eq!(place.load("socialiqa", &Files::default()).expect("reads").train[2].gold, Some(2));
}

#[test]
fn reinterpreted_rows_and_dev_splits_of_one_class_are_noted() {
    let note = |place: Place, task: &str| {
        let data = place.load(task, &Files::default()).expect(task);
        let notes: Vec<String> =
            data.notes.iter().map(|note| note.replace(&format!("{}/", place.data.path().display()), "")).collect();
        (notes, data)
    };
    let bare = HELLASWAG.replace("\"label\": 4", "\"label\": 3");
    let (notes, data) = note(
        Place::of("hellaswag").with("hellaswag/hellaswag_train.jsonl", format!("{bare}\n").as_bytes()),
        "hellaswag",
    );
    assert_eq!(
        notes,
        [
            "hellaswag/hellaswag_train.jsonl: 1 rows have no `ctx_a` and `ctx_b`: the context is `ctx`, and each choice is an ending alone"
        ]
    );
    assert!(matches!(&data.train[0].text, Text::Choices(pairs) if pairs[3] == ("C".into(), "d".into())));
    let (notes, mut data) = note(Place::of("copa"), "copa");
    assert_eq!((notes, data.one_class_note()), (vec![], None));
    // A limit can leave a single class, even where the whole dev split has several.
    data.limit(None, Some(1));
    let said = data.one_class_note().expect("one example has one class");
    assert!(said.starts_with("all 1 dev examples have the label `"), "{said}");
}

#[test]
fn short_rows_of_qqp_are_dropped_and_counted_up_to_the_number_that_is_known() {
    let rows = fs::read_to_string(stepstone_fixtures::tasks().join("qqp/train.tsv")).expect("rows");
    let with = |short: usize| {
        Place::of("qqp").with("qqp/train.tsv", (rows.clone() + &"9\t1\t2\tWhy?\n".repeat(short)).as_bytes())
    };
    // Three short rows are known, so a fourth makes all of them errors.
    let place = with(3);
    let data = place.load("qqp", &Files::default()).expect("three are known");
    assert_eq!(data.train.len(), 8);
    assert!(
        data.notes[0].ends_with("dropped lines 10, 11, 12: too few columns, a known defect of the official file"),
        "{:?}",
        data.notes
    );
    let refusal = with(4).refusal("qqp");
    assert!(refusal.starts_with("qqp/train.tsv:10: 4 columns, expected 6\n"), "{refusal}");
    let wide =
        Place::of("qqp").with("qqp/train.tsv", (rows.clone() + "9\t1\t2\tWhy?\tWhy\t1\t1\n").as_bytes()).refusal("qqp");
    assert_eq!(wide, "qqp/train.tsv:10: 7 columns, expected 6");
}

#[test]
fn files_are_mapped_by_the_call_over_the_folder_s_settings_over_the_task_s_names() {
    let dev = "A\tB\tneutral\nC\tD\tentails\n";
    let place = || {
        Place::of("scitail")
            .with("one.tsv", dev.as_bytes())
            // The last row, 12 bytes, is cut off: 2, 3 and 4 rows tell the given, the mapped and the official file
            // apart.
            .with("three.tsv", &dev.repeat(2).into_bytes()[..dev.len() * 2 - 12])
    };
    let dev_of = |place: &Place, files: &Files| place.load("scitail", files).expect("reads").dev.len();
    let settings = b"[task.scitail]\nfiles = { dev = \"three.tsv\" }\n";
    assert_eq!(dev_of(&place(), &Files::default()), 4);
    assert_eq!(dev_of(&place().with("stepstone.toml", settings), &Files::default()), 3);
    let given = Files { train: None, dev: vec!["one.tsv".into()] };
    assert_eq!(dev_of(&place().with("stepstone.toml", settings), &given), 2);

    let refused = |text: &str| place().with("stepstone.toml", text.as_bytes()).refusal("scitail");
    for (text, want) in [
        ("[task.scitial]\nfiles = {}\n", "stepstone.toml:1:7: there is no task `scitial`; did you mean `scitail`?"),
        (
            "[task.scitail]\nfiles = { tain = \"x\" }\n",
            "stepstone.toml:2:11: unknown field `tain`, expected `train` or `dev`",
        ),
        ("[task.scitail\n", "stepstone.toml:1:14: "),
        (
            "[task.scitail]\nfiles = { dev = [\"one.tsv\", \"three.tsv\"] }\n",
            "task scitail has 2 dev files, expected 1",
        ),
        ("[task.scitail]\nfiles = { dev = \"none.tsv\" }\n", "none.tsv does not exist, expected a file of rows"),
    ] {
        let message = refused(text);
        assert!(message.starts_with(want), "{message}");
    }
}

#[test]
fn a_file_beside_the_rows_is_part_of_the_digest() {
    let digest = |place: Place| place.load("socialiqa", &Files::default()).expect("reads").digest;
    let changed = Place::of("socialiqa").with("socialiqa/train-labels.lst", b"2\n2\n3\n1\n2\n3\n1\n2\n");
    assert_ne!(digest(Place::of("socialiqa")), digest(changed));
    assert!(stepstone_fixtures::tasks().join("socialiqa/train-labels.lst").is_file());
}
