//! Reading official layouts, accepting what is harmless, and refusing bad rows by file and line.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use stepstone_tasks::{DataError, Text, Tokenizer, TokenizerFamily, find, load, load_prediction_file};

const GOOD: &str = "sentence\tlabel\nfine work \t1\ndull work \t0\n";

fn sst2(train: &[u8]) -> (tempfile::TempDir, Result<stepstone_tasks::TaskData, DataError>) {
    let data = tempfile::tempdir().expect("temporary folder");
    let folder = data.path().join("sst2");
    fs::create_dir(&folder).expect("folder");
    fs::write(folder.join("train.tsv"), train).expect("train");
    fs::write(folder.join("dev.tsv"), GOOD).expect("dev");
    let result = load(find("sst2").expect("task"), data.path());
    (data, result)
}

fn message(data: &Path, error: &DataError) -> String {
    error.to_string().replace(&format!("{}/", data.display()), "")
}

#[test]
fn byte_order_mark_crlf_lone_quote_and_compression_are_accepted() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(GOOD.as_bytes()).expect("compresses");
    let table: [(&str, Vec<u8>); 6] = [
        ("plain", GOOD.into()),
        ("byte-order mark", format!("\u{feff}{GOOD}").into()),
        ("CRLF", GOOD.replace('\n', "\r\n").into()),
        ("empty last line", format!("{GOOD}\n").into()),
        ("no last newline", GOOD.trim_end().into()),
        ("gzip", gzip.finish().expect("compresses")),
    ];
    for (name, bytes) in table {
        let (_data, result) = sst2(&bytes);
        let train = result.expect(name).train;
        assert_eq!(train.len(), 2, "{name}");
        assert_eq!((&train[0].text, train[0].gold), (&Text::Single("fine work ".into()), Some(1)), "{name}");
    }
    let (_data, result) = sst2(b"sentence\tlabel\nsays \"fine work \t1\n");
    assert_eq!(result.expect("lone quote").train[0].text, Text::Single("says \"fine work ".into()));
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
        (b"text\tlabel\na\t1\n", "sst2/train.tsv:1: the header has no column `sentence`, it has `text`, `label`"),
        (b"sentence\tlabel\na\xff\t1\n", "sst2/train.tsv:2: byte 0xff at offset 16 is no UTF-8, expected UTF-8 text"),
        (b"sentence\tlabel\na\t\n", "sst2/train.tsv:2: no label, expected one of `0`, `1`"),
        (b"", "sst2/train.tsv: no rows, expected at least one row"),
    ];
    for (bytes, want) in table {
        let (data, result) = sst2(bytes);
        assert_eq!(message(data.path(), &result.expect_err(want)), want);
    }
}

#[test]
fn missing_folders_and_files_name_what_was_tried() {
    let data = tempfile::tempdir().expect("temporary folder");
    let task = find("rte").expect("task");
    let no_folder = load(task, data.path()).expect_err("no folder");
    assert!(message(data.path(), &no_folder).ends_with("has no folder `rte` or `RTE` or `superglue_rte`"));
    fs::create_dir(data.path().join("rte")).expect("folder");
    let no_file = load(task, data.path()).expect_err("no file");
    assert_eq!(message(data.path(), &no_file), "rte has no file `train.jsonl` or `train.tsv`");
    assert!(matches!(load(task, &data.path().join("x")), Err(DataError::Missing { .. })));
}

#[test]
fn a_prediction_file_may_lack_labels() {
    let data = tempfile::tempdir().expect("temporary folder");
    let path = data.path().join("new.tsv");
    fs::write(&path, "sentence\nfine work\n").expect("file");
    let rows = load_prediction_file(find("sst2").expect("task"), &path).expect("reads");
    assert_eq!((rows.len(), rows[0].gold), (1, None));
}

/// The folder of real data, or a visible skip; STEPSTONE_REQUIRE_SHARED=1 makes a skip a failure.
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
fn the_official_files_read_whole() {
    let Some(shared) = shared() else { return };
    let table = [("sst2", 67_349, 872), ("rte", 2490, 277), ("mnli", 10_471, 5916), ("cola", 8551, 1043)];
    for (name, train, dev) in table {
        let data = load(find(name).expect(name), &shared.join("data")).expect(name);
        assert_eq!((data.train.len(), data.dev.len()), (train, dev), "{name}");
    }
}

/// Ids by transformers 5.23: `AutoTokenizer(...)("Hello world", "It's fine.")`.
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
            let feature = tokenizer.encode(&text).expect("encodes");
            assert_eq!((feature.ids, feature.truncated), (want.clone(), false), "{}", folder.display());
            let cut = Tokenizer::load(folder, family, 7).expect("loads").encode(&text).expect("encodes");
            assert_eq!((cut.ids.len(), cut.truncated), (7, true));
        }
    }
}
