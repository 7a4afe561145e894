//! Token ids, type ids and offsets compared with Python's tokenizers and transformers.
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

/// Lays out a tokenizer folder as a user would have it.
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

/// The only element, for inputs of one sequence.
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

#[derive(Deserialize)]
struct Table {
    texts: Vec<Vec<String>>,
    folders: Vec<Row>,
}

/// A folder, and what transformers does with it: the ids of each text, or an error.
#[derive(Deserialize)]
struct Row {
    family: String,
    files: BTreeMap<String, String>,
    said: serde_json::Map<String, serde_json::Value>,
    refused: Option<String>,
    tokens: Option<usize>,
    /// `[texts]`; None if a text needs the unknown token and the vocabulary lacks it.
    #[serde(default)]
    ids: Vec<Option<Vec<u32>>>,
    /// `[texts]`, the number of tokens with type id 1.
    #[serde(default)]
    second: Vec<u32>,
}

const NAMES: [(&str, &str); 5] = [
    ("unk_token", "[UNK]"),
    ("sep_token", "[SEP]"),
    ("pad_token", "[PAD]"),
    ("cls_token", "[CLS]"),
    ("mask_token", "[MASK]"),
];

impl Row {
    fn laid_out(&self) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("temporary folder");
        for (name, source) in &self.files {
            let mut text = fs::read_to_string(fixtures().join(source)).expect(source);
            for (name, token) in NAMES {
                if let Some(other) = self.said.get("renamed").and_then(|renamed| renamed[name].as_str()) {
                    text = text.replace(&format!("{token}\n"), &format!("{other}\n"));
                }
            }
            fs::write(place.path().join(name), text).expect(name);
        }
        for (name, content) in self.said.iter().filter(|(name, _)| *name != "renamed") {
            fs::write(place.path().join(format!("{name}.json")), content.to_string()).expect(name);
        }
        place
    }
}

#[test]
fn every_combination_of_tokenizer_files_gives_the_tokens_of_transformers() {
    let table: Table =
        serde_json::from_slice(&fs::read(fixtures().join("folders.json")).expect("table")).expect("table");
    let mut wrong = Vec::new();
    for row in &table.folders {
        let place = row.laid_out();
        let what = format!("{} {:?} {}", row.family, row.files, serde_json::Value::from(row.said.clone()));
        let tokenizer = match (Tokenizer::load(place.path(), family(&row.family), 512), &row.refused) {
            (Err(error), Some(_)) => {
                assert!(error.hint().is_some(), "{error}");
                continue;
            }
            (Err(error), None) => {
                wrong.push(format!("{what}\n  refused: {error}"));
                continue;
            }
            (Ok(_), Some(refused)) => {
                wrong.push(format!("{what}\n  read, expected {refused}"));
                continue;
            }
            (Ok(tokenizer), None) => tokenizer,
        };
        if Some(tokenizer.vocab_size()) != row.tokens {
            wrong.push(format!("{what}\n  {} tokens, expected {:?}", tokenizer.vocab_size(), row.tokens));
        }
        for ((texts, ids), second) in table.texts.iter().zip(&row.ids).zip(&row.second) {
            let got = tokenizer.encode(&text(texts)).ok().map(one);
            if got.as_ref().map(|feature| &feature.ids) != ids.as_ref() {
                let tokens = |ids: &[u32]| tokenizer.tokens(ids).join(" ");
                let (got, want) = (got.as_ref().map(|feature| tokens(&feature.ids)), ids.as_ref().map(|i| tokens(i)));
                wrong.push(format!("{what}\n  {texts:?}\n  {got:?}\n  {want:?}"));
            } else if got.is_some_and(|feature| feature.type_ids.iter().sum::<u32>() != *second) {
                wrong.push(format!("{what}\n  {texts:?}: token types, expected {second} ones"));
            }
        }
    }
    // All rows are compared before the test fails, because a mistake often shows only as a pattern.
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(table.folders.len() > 150 && table.texts.len() == 12, "the table is complete");
}

#[test]
fn a_setting_that_is_not_honoured_is_named_with_what_to_do() {
    let uncased = BTreeMap::from([("tokenizer.json".to_owned(), "uncased.json".to_owned())]);
    let table = [
        (
            r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#,
            "`tokenizer_class` is \"BertJapaneseTokenizer\", expected a BertTokenizer, a RobertaTokenizer or a PreTrainedTokenizerFast",
            "\"tokenizer_class\": \"PreTrainedTokenizerFast\"",
        ),
        (r#"{"truncation_side": "left"}"#, "`truncation_side` is \"left\", expected `right`", "only cut at the end"),
        (
            r#"{"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.0.0.json"]}"#,
            "`fast_tokenizer_files` is \"tokenizer.4.0.0.json\", expected `tokenizer.json`",
            "save_pretrained",
        ),
        (r#"{"vocab": {"a": 1}}"#, "`vocab` is {\"a\":1}, expected nothing", "save_pretrained"),
        (
            r#"{"tokenizer_class": "RobertaTokenizer"}"#,
            "`model` is \"WordPiece\", expected a BPE model",
            "tokenizer_class",
        ),
        (r#"{"unk_token": null}"#, "`unk_token` is null, expected a token", "remove the key"),
    ];
    for (config, problem, remedy) in table {
        let config = serde_json::from_str(config).expect(config);
        let place = laid_out(&uncased, Some(&config));
        let error = Tokenizer::load(place.path(), TokenizerFamily::Bert, 64).expect_err(problem);
        assert!(error.to_string().contains(problem), "{error}\ninstead of {problem}");
        assert!(error.hint().is_some_and(|hint| hint.contains(remedy)), "{:?}", error.hint());
    }
}

#[test]
fn a_class_that_only_config_json_names_counts_in_the_digest() {
    let place = laid_out(&BTreeMap::from([("tokenizer.json".into(), "cased.json".into())]), None);
    let load = || Tokenizer::load(place.path(), TokenizerFamily::Bert, 64).expect("loads");
    let plain = load();
    fs::write(place.path().join("config.json"), r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#).expect("config");
    assert_ne!(load().digest(), plain.digest());
    // Other keys of config.json belong to the model and leave the digest alone.
    fs::write(place.path().join("config.json"), r#"{"hidden_size": 4}"#).expect("config");
    assert_eq!(load().digest(), plain.digest());
}

/// Number of tokens and ids by `AutoTokenizer` of transformers 5.24.0 (tokenizers 0.23.3), 2026-11-30.
#[test]
fn odd_lines_of_vocab_txt_are_read_as_transformers_reads_them() {
    let plain = fs::read_to_string(fixtures().join("uncased.vocab.txt")).expect("vocabulary");
    let usual = [2, 48, 80, 3];
    let table = [
        ("no newline at the end", plain.trim_end().to_owned(), 267, usual),
        ("carriage returns", plain.replace('\n', "\r\n"), 267, usual),
        ("a space after a token", plain.replace("\nthe\n", "\nthe \n"), 267, usual),
        // The mark changes the first token, so [PAD] is missing and is added after the vocabulary.
        ("a byte-order mark", format!("\u{feff}{plain}"), 268, usual),
        ("an empty last line", format!("{plain}\n"), 268, usual),
        ("two tokens twice: the later line counts", format!("{plain}the\nrain\n"), 267, [2, 267, 268, 3]),
    ];
    for (what, vocabulary, tokens, ids) in table {
        let place = tempfile::tempdir().expect("temporary folder");
        fs::write(place.path().join("vocab.txt"), vocabulary).expect("file");
        let tokenizer = Tokenizer::load(place.path(), TokenizerFamily::Bert, 64).expect(what);
        assert_eq!(tokenizer.vocab_size(), tokens, "{what}");
        assert_eq!(one(tokenizer.encode(&Text::Single("the rain".into())).expect(what)).ids, ids, "{what}");
    }
}

#[test]
fn special_tokens_may_have_other_names() {
    let place = laid_out(&BTreeMap::from([("vocab.txt".into(), "uncased.vocab.txt".into())]), None);
    let load = || Tokenizer::load(place.path(), TokenizerFamily::Bert, 64);
    let ids = |tokenizer: Tokenizer| one(tokenizer.encode(&Text::Single("the rain".into())).expect("encodes")).ids;
    let want = ids(load().expect("loads"));
    let vocab = fs::read_to_string(place.path().join("vocab.txt")).expect("vocab");
    fs::write(place.path().join("vocab.txt"), vocab.replace("[CLS]", "<start>").replace("[SEP]", "<end>"))
        .expect("vocab");
    refused(
        load(),
        "vocab.txt: no special token `[SEP]`, expected it, or another `sep_token` in tokenizer_config.json or special_tokens_map.json",
    );
    let config =
        r#"{"cls_token": "<start>", "sep_token": {"__type": "AddedToken", "content": "<end>", "lstrip": false}}"#;
    fs::write(place.path().join("tokenizer_config.json"), config).expect("config");
    assert_eq!(ids(load().expect("loads")), want);
    // An object must say that it is a token; transformers refuses any other.
    fs::write(place.path().join("tokenizer_config.json"), config.replace("\"__type\": \"AddedToken\", ", ""))
        .expect("config");
    let error = load().expect_err("an object of unknown type").to_string();
    assert!(
        error.contains("tokenizer_config.json: `sep_token` is {\"content\":\"<end>\",\"lstrip\":false}"),
        "{error}"
    );
}

fn refused(result: Result<Tokenizer, TokenizerError>, want: &str) {
    let message = result.expect_err(want).to_string();
    assert!(message.ends_with(want), "{message}\ninstead of {want}");
}

#[test]
fn a_bad_tokenizer_file_is_refused_by_name() {
    let uncased = BTreeMap::from([("vocab.txt".to_owned(), "uncased.vocab.txt".to_owned())]);
    let load = |place: &Path| Tokenizer::load(place, TokenizerFamily::Bert, 64);
    let table = [
        ("tokenizer_config.json", "do_lower_case: false", "tokenizer_config.json: expected value at line 1 column 1"),
        (
            "tokenizer_config.json",
            r#"{"do_lower_case": "no"}"#,
            "tokenizer_config.json: `do_lower_case` is \"no\", expected true or false",
        ),
        ("vocab.txt", "the\nrain\n", "vocab.txt: no special token `[SEP]`, expected it"),
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
    for (place, family, special) in [(&bert, TokenizerFamily::Bert, 3), (&roberta, TokenizerFamily::Roberta, 4)] {
        let load = |max_length| Tokenizer::load(place.path(), family, max_length);
        let pair = Text::Pair("It rains in Spain.".into(), "The rain stays on the plain.".into());
        // One token more than the special ones must already work.
        let shortest = one(load(special + 1).expect("loads").encode(&pair).expect("encodes"));
        assert_eq!(shortest.ids.len(), special + 1);
        assert!(matches!(load(special), Err(TokenizerError::TooShort { least, .. }) if least == special + 1));
    }
}
