//! Token ids, type ids and offsets against Python's tokenizers and transformers.
//! The fixtures come from tools/golden/make_tokenizers.py; `made` in golden.json names versions and date.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use stepstone_tasks::{Text, Tokenizer, TokenizerError, TokenizerFamily};

#[derive(Deserialize)]
struct Golden {
    folders: Vec<Folder>,
}

#[derive(Deserialize)]
struct Folder {
    name: String,
    family: String,
    files: BTreeMap<String, String>,
    tokenizer_config: Option<serde_json::Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    texts: Vec<String>,
    max_length: usize,
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    offsets: Vec<(usize, usize)>,
    truncated: bool,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The folder as a user has it.
fn laid_out(files: &BTreeMap<String, String>, config: Option<&serde_json::Value>) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("temporary folder");
    for (name, source) in files {
        fs::copy(fixtures().join(source), place.path().join(name)).expect("copies");
    }
    if let Some(config) = config {
        fs::write(place.path().join("tokenizer_config.json"), config.to_string()).expect("config");
    }
    place
}

fn text(texts: &[String]) -> Text {
    match texts {
        [text] => Text::Single(text.clone()),
        [first, second] => Text::Pair(first.clone(), second.clone()),
        other => panic!("{other:?}"),
    }
}

fn family(name: &str) -> TokenizerFamily {
    match name {
        "bert" => TokenizerFamily::Bert,
        "roberta" => TokenizerFamily::Roberta,
        other => panic!("{other}"),
    }
}

/// Of an input that is one sequence.
fn one<T>(sequences: Vec<T>) -> T {
    let [sequence] = <[T; 1]>::try_from(sequences).unwrap_or_else(|more| panic!("{} sequences", more.len()));
    sequence
}

#[test]
fn ids_type_ids_and_offsets_equal_python_for_every_kind_of_folder() {
    let golden: Golden =
        serde_json::from_slice(&fs::read(fixtures().join("golden.json")).expect("golden")).expect("golden");
    for folder in &golden.folders {
        let place = laid_out(&folder.files, folder.tokenizer_config.as_ref());
        for case in &folder.cases {
            let tokenizer = Tokenizer::load(place.path(), family(&folder.family), case.max_length).expect(&folder.name);
            let what = format!("{}: {:?} at {}", folder.name, case.texts, case.max_length);
            let text = text(&case.texts);
            let feature = one(tokenizer.encode(&text).expect(&what));
            assert_eq!(feature.ids, case.ids, "{what}");
            assert_eq!(feature.type_ids, case.type_ids, "{what}");
            assert_eq!(feature.truncated, case.truncated, "{what}");
            let offsets = one(tokenizer.offsets(&text).expect(&what));
            let offsets: Vec<(usize, usize)> = offsets.iter().map(|range| (range.start, range.end)).collect();
            assert_eq!(offsets, case.offsets, "{what}");
        }
    }
}

#[test]
fn special_tokens_may_bear_other_names() {
    let place = laid_out(&BTreeMap::from([("vocab.txt".into(), "uncased.vocab.txt".into())]), None);
    let load = || Tokenizer::load(place.path(), TokenizerFamily::Bert, 64);
    let ids = |tokenizer: Tokenizer| one(tokenizer.encode(&Text::Single("the rain".into())).expect("encodes")).ids;
    let want = ids(load().expect("loads"));
    let vocab = fs::read_to_string(place.path().join("vocab.txt")).expect("vocab");
    fs::write(place.path().join("vocab.txt"), vocab.replace("[CLS]", "<start>").replace("[SEP]", "<end>"))
        .expect("vocab");
    refused(load(), "vocab.txt: no special token `[SEP]`, expected a tokenizer");
    let config = r#"{"cls_token": "<start>", "sep_token": {"content": "<end>", "lstrip": false}}"#;
    fs::write(place.path().join("tokenizer_config.json"), config).expect("config");
    assert_eq!(ids(load().expect("loads")), want);
}

fn refused(result: Result<Tokenizer, TokenizerError>, want: &str) {
    let message = result.expect_err(want).to_string();
    assert!(message.ends_with(want), "{message}\ninstead of {want}");
}

#[test]
fn what_is_no_tokenizer_is_refused_with_its_file() {
    let uncased = BTreeMap::from([("vocab.txt".to_owned(), "uncased.vocab.txt".to_owned())]);
    let load = |place: &Path| Tokenizer::load(place, TokenizerFamily::Bert, 64);
    let table = [
        ("tokenizer_config.json", "do_lower_case: false", "tokenizer_config.json: expected value at line 1 column 1"),
        ("tokenizer_config.json", r#"{"do_lower_case": "no"}"#, "tokenizer_config.json: invalid type: string \"no\""),
        ("vocab.txt", "the\nrain\n", "vocab.txt: no special token `[SEP]`, expected a tokenizer"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1\n", "tokenizer.json: expected value at line 1"),
    ];
    for (file, content, want) in table {
        let place = laid_out(&uncased, None);
        fs::write(place.path().join(file), content).expect("file");
        let error = load(place.path()).expect_err(want);
        assert!(error.to_string().contains(want), "{error}\ninstead of {want}");
        assert!(error.hint().is_some(), "{error}");
    }
    let place = laid_out(&uncased, None);
    refused(Tokenizer::load(place.path(), TokenizerFamily::Roberta, 64), "or vocab.json and merges.txt");
}

#[test]
fn a_length_without_room_for_the_special_tokens_of_a_pair_is_refused() {
    let bert = laid_out(&BTreeMap::from([("tokenizer.json".into(), "uncased.json".into())]), None);
    let roberta = laid_out(&BTreeMap::from([("tokenizer.json".into(), "bpe.json".into())]), None);
    for (place, special) in [(&bert, 3), (&roberta, 4)] {
        let load = |max_length| Tokenizer::load(place.path(), TokenizerFamily::Bert, max_length);
        let pair = Text::Pair("It rains in Spain.".into(), "The rain stays on the plain.".into());
        let shortest = one(load(special + 1).expect("loads").encode(&pair).expect("encodes"));
        assert_eq!(shortest.ids.len(), special + 1);
        assert!(matches!(load(special), Err(TokenizerError::TooShort { least, .. }) if least == special + 1));
    }
}
