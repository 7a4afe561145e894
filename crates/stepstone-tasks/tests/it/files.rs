//! Official layouts are read, harmless deviations are accepted, and bad rows are refused with file and line.

use std::fs;
use std::path::{Path, PathBuf};
use stepstone_tasks::{
    Damage, DataError, Files, Foreign, Text, Tokenizer, TokenizerFamily, find, load, load_prediction_file,
};

const GOOD: &str = "sentence\tlabel\nfine work \t1\ndull work \t0\n";

fn sst2(train: &[u8]) -> (tempfile::TempDir, Result<stepstone_tasks::TaskData, DataError>) {
    let data = tempfile::tempdir().expect("temporary folder");
    let folder = data.path().join("sst2");
    fs::create_dir(&folder).expect("folder");
    fs::write(folder.join("train.tsv"), train).expect("train");
    fs::write(folder.join("dev.tsv"), GOOD).expect("dev");
    let result = load(find("sst2").expect("task"), data.path(), &Files::default());
    (data, result)
}

fn message(data: &Path, error: &DataError) -> String {
    error.to_string().replace(&format!("{}/", data.display()), "")
}

#[test]
fn byte_order_mark_crlf_lone_quote_and_empty_last_line_are_accepted() {
    let table: [(&str, String); 7] = [
        ("plain", GOOD.into()),
        ("byte-order mark", format!("\u{feff}{GOOD}")),
        ("CRLF", GOOD.replace('\n', "\r\n")),
        ("empty last line", format!("{GOOD}\n")),
        ("empty last line after CRLF", format!("{GOOD}\n").replace('\n', "\r\n")),
        ("no last newline", GOOD.trim_end().into()),
        ("all of them", format!("\u{feff}{GOOD}\n").replace('\n', "\r\n")),
    ];
    for (name, text) in table {
        let (_data, result) = sst2(text.as_bytes());
        let train = result.expect(name).train;
        assert_eq!(train.len(), 2, "{name}");
        assert_eq!((&train[0].text, train[0].gold), (&Text::Single("fine work ".into()), Some(1)), "{name}");
    }
    let (_data, result) = sst2(b"sentence\tlabel\nsays \"fine work \t1\n");
    assert_eq!(result.expect("lone quote").train[0].text, Text::Single("says \"fine work ".into()));
}

/// The rows of the compressed fixtures; the second of two members or frames starts at byte 4000.
fn compressed_rows() -> String {
    let row = |i: usize| format!("film number {i} is {} \t{}\n", ["dull", "fine"][i % 2], i % 2);
    "sentence\tlabel\n".to_owned() + &(0..300).map(row).collect::<String>()
}

#[test]
fn gzip_and_zstd_are_detected_by_their_magic_bytes() {
    let (_data, plain) = sst2(compressed_rows().as_bytes());
    let plain = plain.expect("plain");
    for name in ["one_member.gz", "two_members.gz", "one_frame.zst", "two_frames.zst", "skippable_frame.zst"] {
        let (_data, result) = sst2(&stepstone_fixtures::compressed(name)); // as train.tsv: the name gives no hint
        let read = result.expect(name);
        assert_eq!((read.train, read.digest), (plain.train.clone(), plain.digest.clone()), "{name}");
    }
}

#[test]
fn a_compressed_file_that_is_cut_off_or_damaged_never_gives_other_rows() {
    let place = tempfile::tempdir().expect("temporary folder");
    let read = |bytes: &[u8]| {
        let path = place.path().join("rows.tsv");
        fs::write(&path, bytes).expect("file");
        load_prediction_file(find("sst2").expect("task"), &path)
    };
    let plain = read(compressed_rows().as_bytes()).expect("plain");
    // Every length and every byte is tried; the first four bytes are left alone, because they identify the format.
    for name in ["one_member.gz", "one_frame.zst"] {
        let whole = stepstone_fixtures::compressed(name);
        for len in 4..whole.len() {
            let result = read(&whole[..len]);
            let cut_off = matches!(result, Err(DataError::Packed { damage: Damage::CutOff, .. }));
            assert!(cut_off, "{name} cut to {len} bytes: {result:?}");
        }
        for place in 4..whole.len() {
            let mut damaged = whole.clone();
            // One flipped bit is the smallest damage that a checksum must find.
            damaged[place] ^= 0x10;
            match read(&damaged) {
                Ok(rows) => assert_eq!(rows, plain, "{name} damaged at {place}"), // for example in the time stamp
                Err(error) => assert!(matches!(error, DataError::Packed { .. }), "{name} damaged at {place}: {error}"),
            }
        }
    }
}

#[test]
fn a_file_that_is_not_text_is_named_by_its_kind() {
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| GOOD.encode_utf16().flat_map(to_bytes).collect::<Vec<u8>>();
    let table: [(Vec<u8>, Foreign); 10] = [
        ([vec![0xff, 0xfe], utf16(u16::to_le_bytes)].concat(), Foreign::Utf16),
        ([vec![0xfe, 0xff], utf16(u16::to_be_bytes)].concat(), Foreign::Utf16),
        (utf16(u16::to_le_bytes), Foreign::Utf16),
        (utf16(u16::to_be_bytes), Foreign::Utf16),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n".to_vec(), Foreign::GitLfsPointer),
        (b"<!DOCTYPE html>\n<html></html>\n".to_vec(), Foreign::Html),
        (b"\xef\xbb\xbf\n  <HTML lang=en>\n".to_vec(), Foreign::Html),
        (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>".to_vec(), Foreign::Xml),
        (b"PAR1\x15\x04\x15".to_vec(), Foreign::Parquet),
        (b"PK\x03\x04\x14\0".to_vec(), Foreign::Zip),
    ];
    for (bytes, want) in table {
        let (data, result) = sst2(&bytes);
        let error = result.expect_err("refused");
        assert_eq!(message(data.path(), &error), format!("sst2/train.tsv: {want}, expected rows of UTF-8 text"));
        assert!(error.hint().is_some(), "{want}");
    }
}

#[test]
fn every_bad_row_is_named_with_file_line_and_what_was_expected() {
    let table: [(&[u8], &str); 8] = [
        (
            b"sentence\tlabel\na\t1\nb\tmaybe\nc\t2\n",
            "sst2/train.tsv:3: label `maybe`, expected one of `0`, `1`\nsst2/train.tsv:4: label `2`, expected one of `0`, `1`",
        ),
        (b"sentence\tlabel\na\t1\n\nb\t0\n", "sst2/train.tsv:3: an empty line, expected a row"),
        (b"sentence\tlabel\na\t1\n\n\n", "sst2/train.tsv:3: an empty line, expected a row"),
        (b"sentence\tlabel\na\tb\t1\n", "sst2/train.tsv:2: 3 columns, expected 2"),
        (b"text\tlabel\na\t1\n", "sst2/train.tsv:1: the header has no column `sentence`; it has `text`, `label`"),
        (
            b"sentence\tlabel\na\xff\t1\n",
            "sst2/train.tsv:2: byte 0xff at offset 16 is not valid UTF-8, expected UTF-8 text",
        ),
        (b"sentence\tlabel\na\t\n", "sst2/train.tsv:2: no label, expected one of `0`, `1`"),
        (b"", "sst2/train.tsv: no rows, expected at least one"),
    ];
    for (bytes, want) in table {
        let (data, result) = sst2(bytes);
        assert_eq!(message(data.path(), &result.expect_err(want)), want);
    }
}

#[test]
fn a_bad_json_line_is_named_with_file_line_and_column() {
    let good = r#"{"premise": "It rains.", "hypothesis": "It is wet.", "label": "entailment", "idx": 0}"#;
    let table = [
        ("", "rte/train.jsonl:2: an empty line, expected a JSON object"),
        (r#"{"premise": "a", }"#, "rte/train.jsonl:2: trailing comma at column 18, expected a JSON object"),
        (r#"{"premise": "a"#, "rte/train.jsonl:2: EOF while parsing a string at column 14, expected a JSON object"),
        (r#"{"premise": "a", "label": "entailment"}"#, "rte/train.jsonl:2: no field `hypothesis`"),
        (
            r#"{"premise": "a", "hypothesis": "b", "label": "yes"}"#,
            "rte/train.jsonl:2: label `yes`, expected one of `entailment`, `not_entailment`",
        ),
        (
            r#"{"premise": "a", "hypothesis": "b"}"#,
            "rte/train.jsonl:2: no label, expected one of `entailment`, `not_entailment`",
        ),
    ];
    for (line, want) in table {
        let data = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(data.path().join("rte")).expect("folder");
        fs::write(data.path().join("rte/train.jsonl"), format!("{good}\n{line}\n{good}\n")).expect("train");
        let error = load(find("rte").expect("task"), data.path(), &Files::default()).expect_err(want);
        assert_eq!(message(data.path(), &error), want);
    }
}

#[test]
fn missing_folders_and_files_name_what_was_tried() {
    let data = tempfile::tempdir().expect("temporary folder");
    let task = find("rte").expect("task");
    let no_folder = load(task, data.path(), &Files::default()).expect_err("no folder");
    assert!(message(data.path(), &no_folder).ends_with("has no folder `rte` or `RTE` or `superglue_rte`"));
    fs::create_dir(data.path().join("rte")).expect("folder");
    let no_file = load(task, data.path(), &Files::default()).expect_err("no file");
    assert_eq!(message(data.path(), &no_file), "rte has no file `train.jsonl` or `train.tsv`");
    assert!(matches!(load(task, &data.path().join("x"), &Files::default()), Err(DataError::NoData { .. })));
}

#[test]
fn a_prediction_file_is_laid_out_as_any_file_of_the_task_and_may_lack_labels() {
    let data = tempfile::tempdir().expect("temporary folder");
    let pair = "index\tsentence1\tsentence2\n7\tIt rains.\tIt is wet.\n";
    let table = [
        ("sst2", "new.tsv", "sentence\nfine work\n"),
        ("sst2", "test.tsv", "index\tsentence\n0\tfine work\n"),
        ("cola", "test.tsv", "index\tsentence\n0\tThe cat slept.\n"),
        ("cola", "rows.txt", "xx00\t1\t\tThe cat slept.\n"),
        ("rte", "test.tsv", pair),
        ("rte", "rows.jsonl", r#"{"premise": "It rains.", "hypothesis": "It is wet.", "idx": 7}"#),
        // The extension suggests one layout, the first line shows the other.
        ("rte", "rows.tsv", r#"{"premise": "It rains.", "hypothesis": "It is wet."}"#),
        ("rte", "rows.jsonl", pair),
    ];
    for (task, name, text) in table {
        let path = data.path().join(name);
        fs::write(&path, text).expect("file");
        let rows = load_prediction_file(find(task).expect("task"), &path).expect(text);
        assert_eq!(rows.len(), 1, "{task} {name}");
    }
    let folder = load_prediction_file(find("sst2").expect("task"), data.path()).expect_err("a folder");
    assert!(folder.to_string().ends_with("is a folder, expected a file of rows"), "{folder}");
}

#[test]
fn a_label_of_a_prediction_file_may_be_hidden_empty_or_absent_in_every_layout() {
    let data = tempfile::tempdir().expect("temporary folder");
    let copa = |label: &str| {
        format!(r#"{{"premise": "P", "question": "cause", "choice1": "A", "choice2": "B", "idx": 0{label}}}"#)
    };
    let siqa = r#"{"context": "C", "question": "Q", "answerA": "a", "answerB": "b", "answerC": "c"}"#;
    let table = [
        // The hub's test split of SST-2.
        ("sst2", "hub_test.tsv", "sentence\tlabel\nfine work\t-1\ndull work\t-1\n".to_owned()),
        ("sst2", "empty.tsv", "sentence\tlabel\nfine work\t\ndull work\t\n".into()),
        ("sst2", "absent.tsv", "sentence\nfine work\ndull work\n".into()),
        ("mnli", "rows.tsv", "index\tsentence1\tsentence2\tgold_label\n0\tA\tB\t-\n1\tC\tD\t-\n".into()),
        ("cola", "rows.tsv", "xx00\t-1\t\tThe cat slept.\nxx00\t\t\tIt ran.\n".into()),
        ("scitail", "rows.tsv", "A\tB\t-1\nC\tD\t-\n".into()),
        ("scitail", "without_last_column.tsv", "A\tB\nC\tD\n".into()),
        ("rte", "null.jsonl", format!("{0}\n{0}\n", r#"{"premise": "A", "hypothesis": "B", "label": null}"#)),
        ("rte", "number.jsonl", format!("{0}\n{0}\n", r#"{"premise": "A", "hypothesis": "B", "label": -1}"#)),
        ("rte", "text.jsonl", format!("{0}\n{0}\n", r#"{"premise": "A", "hypothesis": "B", "label": "-"}"#)),
        ("copa", "rows.jsonl", format!("{}\n{}\n", copa(""), copa(r#", "label": -1"#))),
        // There is no companion file with labels.
        ("socialiqa", "rows.jsonl", format!("{siqa}\n{siqa}\n")),
        (
            "aj-eos",
            "rows.json",
            r#"[{"context": "A", "hypothesis": "B", "label": -1}, {"context": "A", "hypothesis": "B"}]"#.into(),
        ),
    ];
    for (task, name, text) in table {
        let path = data.path().join(name);
        fs::write(&path, &text).expect("file");
        let rows = load_prediction_file(find(task).expect("task"), &path);
        let rows = rows.unwrap_or_else(|error| panic!("{task} {name}: {error}"));
        assert_eq!(rows.iter().map(|row| row.gold).collect::<Vec<_>>(), [None, None], "{task} {name}");
    }
    let path = data.path().join("wrong.tsv");
    fs::write(&path, "sentence\tlabel\nfine work\tmaybe\n").expect("file");
    let error = load_prediction_file(find("sst2").expect("task"), &path).expect_err("an unknown label").to_string();
    assert!(error.ends_with("wrong.tsv:2: label `maybe`, expected one of `0`, `1`"), "{error}");
}

#[test]
fn a_hidden_label_in_training_data_is_a_bad_row_that_says_what_it_looks_like() {
    let (data, result) = sst2(b"sentence\tlabel\nfine work\t-1\n");
    assert_eq!(
        message(data.path(), &result.expect_err("refused")),
        "sst2/train.tsv:2: label `-1`, expected one of `0`, `1`: this looks like a hidden label of a test split"
    );
}

#[test]
fn two_tables_of_one_task_in_the_folder_s_settings_are_refused_however_they_are_spelt() {
    let (data, _) = sst2(GOOD.as_bytes());
    let load = |settings: &str| {
        fs::write(data.path().join("stepstone.toml"), settings).expect("settings");
        load(find("sst2").expect("task"), data.path(), &Files::default())
    };
    fs::write(data.path().join("other.tsv"), "sentence\tlabel\none\t1\n").expect("file");
    let other = load("[task.SST-2]\nfiles = { train = \"other.tsv\" }\n").expect("reads");
    assert_eq!(other.train.len(), 1, "the table is found by another spelling");
    let error = load("[task.sst2]\nfiles = {}\n[task.SST-2]\nfiles = {}\n").expect_err("refused");
    assert_eq!(message(data.path(), &error), "stepstone.toml:3:7: a second table of task `sst2`, expected one");
}

/// The folder of real data. Without it the test prints that it is skipped; with STEPSTONE_REQUIRE_SHARED set, it fails.
fn shared() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("STEPSTONE_SHARED").map_or(default, PathBuf::from);
    if folder.join("data").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("STEPSTONE_REQUIRE_SHARED").is_none(), "{} is missing", folder.display());
    eprintln!("SKIPPED: {} is missing", folder.display());
    None
}

#[test]
fn the_official_files_are_read_completely() {
    let Some(shared) = shared() else { return };
    // Counts from the README of the data. Those of aj-* are the splits of fold 1; the official train, dev and test
    // splits add up to all rows.
    let table = [
        ("aj-coord", 364, 46),
        ("aj-def", 404, 52),
        ("aj-eos", 382, 48),
        ("aj-wh", 464, 60),
        ("boolq", 2632, 670),
        ("cb", 250, 56),
        ("cola", 8551, 1043),
        ("commonsenseqa", 9741, 1221),
        ("copa", 400, 100),
        ("hellaswag", 8000, 2042),
        ("mnli", 10_471, 5916),
        ("qqp", 9310, 999),
        ("rte", 2490, 277),
        ("scitail", 2126, 1304),
        ("socialiqa", 16_000, 1954),
        ("sst2", 67_349, 872),
    ];
    let scitail = Files { train: Some("scitail/scitail_1.0_test.tsv".into()), dev: vec![] };
    for (name, train, dev) in table {
        let files = if name == "scitail" { scitail.clone() } else { Files::default() };
        let data = load(find(name).expect(name), &shared.join("data"), &files).expect(name);
        assert_eq!((data.train.len(), data.dev.len()), (train, dev), "{name}");
        assert_eq!(data.notes.len(), if name == "hellaswag" { 2 } else { 0 }, "{name}: {:?}", data.notes);
    }
    assert_eq!(table.len(), stepstone_tasks::tasks().count(), "every task of the catalogue");
}

/// Expected ids from transformers 5.23: `AutoTokenizer(...)("Hello world", "It's fine.")`.
#[test]
fn pairs_follow_the_family_template_with_and_without_tokenizer_json() {
    let Some(shared) = shared() else { return };
    let text = Text::Pair("Hello world".into(), "It's fine.".into());
    let mini = vec![101, 7592, 2088, 102, 2009, 1005, 1055, 2986, 1012, 102];
    let roberta = vec![0, 31414, 232, 2, 2, 243, 18, 2051, 4, 2];
    let table = [
        ("all-MiniLM-L6-v2", TokenizerFamily::Bert, &["vocab.txt", "tokenizer_config.json"], mini),
        ("roberta-base-tokenizer", TokenizerFamily::Roberta, &["vocab.json", "merges.txt"], roberta),
    ];
    for (folder, family, files, want) in table {
        let folder = shared.join("models").join(folder);
        let bare = tempfile::tempdir().expect("temporary folder");
        for file in files {
            fs::copy(folder.join(file), bare.path().join(file)).expect("copies");
        }
        for folder in [folder.as_path(), bare.path()] {
            let tokenizer = Tokenizer::load(folder, family, 64).expect("loads");
            let feature = tokenizer.encode(&text).expect("encodes").remove(0);
            assert_eq!((feature.ids, feature.truncated), (want.clone(), false), "{}", folder.display());
            let cut = Tokenizer::load(folder, family, 7).expect("loads").encode(&text).expect("encodes").remove(0);
            assert_eq!((cut.ids.len(), cut.truncated), (7, true));
        }
    }
}
