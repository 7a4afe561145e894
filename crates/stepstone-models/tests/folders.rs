//! Good and bad Hugging Face folders. Each test writes its own fixtures.

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use stepstone_models::{Answers, Classifier, EncoderConfig, HeadKind, ModelError, Weights};
use tempfile::TempDir;

const HIDDEN: usize = 4;

/// The config of a BERT with one layer, with these keys changed.
fn config_json(changes: &Value) -> Value {
    let mut json = json!({
        "model_type": "bert", "vocab_size": 10, "hidden_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 6, "type_vocab_size": 2,
    });
    let changes = changes.as_object().expect("an object").clone();
    json.as_object_mut().expect("an object").extend(changes);
    json
}

/// A tensor to write to a file.
#[derive(Clone)]
struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn f32(name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { name: name.into(), dtype: Dtype::F32, shape: shape.into(), bytes }
    }
}

/// All tensors of the tiny BERT with a pooler under canonical names. The values are small multiples of 1/8, which F16
/// and BF16 can hold exactly.
fn tensors() -> Vec<Tensor> {
    let folder = tempfile::tempdir().expect("folder");
    let config = read_config(&folder, &config_json(&json!({}))).expect("config");
    let model = Classifier::new(&config, HeadKind::Hf, Answers::Classes(2));
    let encoder = model.layout.parts().filter(|part| !part.name.starts_with("classifier"));
    let tensor = |(number, part): (usize, &stepstone_engine::Part)| {
        let values: Vec<f32> = (0..part.param.len()).map(|i| ((i + number) % 64) as f32 / 8.0 - 3.0).collect();
        Tensor::f32(&part.name, &part.shape, &values)
    };
    encoder.enumerate().map(tensor).collect()
}

fn serialize(tensors: &[Tensor]) -> Vec<u8> {
    let view = |t: &Tensor| TensorView::new(t.dtype, t.shape.clone(), &t.bytes).map(|v| v.data().to_vec());
    assert!(tensors.iter().all(|t| view(t).is_ok()));
    let views = tensors.iter().map(|t| (&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).expect("fits")));
    safetensors::serialize(views, None).expect("serializes")
}

fn read_config(folder: &TempDir, json: &Value) -> Result<EncoderConfig, ModelError> {
    fs::write(folder.path().join("config.json"), json.to_string()).expect("config");
    EncoderConfig::read(folder.path())
}

/// A folder with the tiny config and these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("config.json"), config_json(&json!({})).to_string()).expect("config");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("file");
    }
    folder
}

fn open(folder: &TempDir) -> Result<Weights, ModelError> {
    Weights::open(folder.path(), &EncoderConfig::read(folder.path()).expect("config"))
}

fn open_tensors(tensors: &[Tensor]) -> Result<Weights, ModelError> {
    open(&folder(&[("model.safetensors", &serialize(tensors))]))
}

/// The message and the hint, with the path replaced by FOLDER.
fn shown(error: &ModelError, folder: &Path) -> String {
    let text = format!("{error}\nhint: {}", error.hint().unwrap_or_default());
    text.replace(&folder.display().to_string(), "FOLDER")
}

/// Compares every tensor of `want` with the one read.
fn assert_holds(weights: &Weights, want: &[Tensor], what: &str) {
    for tensor in want {
        let values: Vec<f32> = tensor.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let mut got = vec![f32::NAN; values.len()];
        weights.read(&tensor.name, &tensor.shape, &mut got).expect(what);
        assert_eq!(got, values, "{what}: {}", tensor.name);
    }
}

#[test]
fn half_precision_is_read_with_its_exact_values() {
    let word = tensors().into_iter().next().expect("the word table");
    let bits: [(Dtype, [(u16, f32); 5]); 2] = [
        (
            Dtype::F16,
            // One, a negative number, a rounded one, the smallest subnormal and the largest finite number.
            [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0x7bff, 65_504.0)],
        ),
        (
            Dtype::BF16,
            [(0x3f80, 1.0), (0xc000, -2.0), (0x3eab, 0.333_984_38), (0x0001, 9.183_55e-41), (0x7f7f, 3.389_531_4e38)],
        ),
    ];
    for (dtype, table) in bits {
        let pattern: Vec<(u16, f32)> = table.iter().copied().cycle().take(10 * HIDDEN).collect();
        let bytes = pattern.iter().flat_map(|(bits, _)| bits.to_le_bytes()).collect();
        let mut all = tensors();
        all[0] = Tensor { dtype, bytes, ..word.clone() };
        let mut got = vec![f32::NAN; 10 * HIDDEN];
        open_tensors(&all).expect("opens").read(&word.name, &word.shape, &mut got).expect("reads");
        assert_eq!(got, pattern.iter().map(|(_, value)| *value).collect::<Vec<f32>>(), "{dtype:?}");
    }
}

#[test]
fn other_types_and_values_that_are_not_finite_have_their_own_hints() {
    let word = tensors()[0].clone();
    let refused = |changed: Tensor| {
        let mut all = tensors();
        all[0] = changed;
        let folder = folder(&[("model.safetensors", &serialize(&all))]);
        let read = open(&folder).and_then(|weights| weights.read(&word.name, &word.shape, &mut [0.0; 10 * HIDDEN]));
        shown(&read.expect_err("refused"), folder.path())
    };
    insta::assert_snapshot!(refused(Tensor { dtype: Dtype::I32, ..word.clone() }), @r"
    FOLDER/model.safetensors: tensor `embeddings.word_embeddings.weight` is I32, expected F32, F16 or BF16
    hint: quantized weights are not supported: use the files that the encoder's authors published
    ");
    let bytes = [0; 5 * HIDDEN].to_vec();
    let packed = Tensor { dtype: Dtype::I8, shape: vec![5, HIDDEN], bytes, ..word.clone() };
    insta::assert_snapshot!(refused(packed), @r"
    FOLDER/model.safetensors: tensor `embeddings.word_embeddings.weight` is I8, expected F32, F16 or BF16
    hint: quantized weights are not supported: use the files that the encoder's authors published
    ");
    let bytes = [0.25f64; 10 * HIDDEN].iter().flat_map(|v| v.to_le_bytes()).collect();
    insta::assert_snapshot!(refused(Tensor { dtype: Dtype::F64, bytes, ..word.clone() }), @r"
    FOLDER/model.safetensors: tensor `embeddings.word_embeddings.weight` is F64, expected F32, F16 or BF16
    hint: convert the weights once: `model.float().save_pretrained(FOLDER)` in transformers
    ");
    let mut holed = word.clone();
    holed.bytes[12..16].copy_from_slice(&f32::NAN.to_le_bytes());
    insta::assert_snapshot!(refused(holed), @r"
    FOLDER/model.safetensors: tensor `embeddings.word_embeddings.weight` holds NaN at element 3, expected finite numbers
    hint: the training that wrote it diverged, or the file is damaged: use an earlier checkpoint, or copy the file again
    ");
}

#[test]
fn a_tensor_that_nobody_reads_may_hold_anything() {
    let mut all = tensors();
    all.push(Tensor::f32("cls.predictions.bias", &[2], &[f32::NAN, f32::INFINITY]));
    all.push(Tensor { dtype: Dtype::I64, ..Tensor::f32("embeddings.position_ids", &[6], &[0.0; 12]) });
    let weights = open_tensors(&all).expect("opens");
    assert_holds(&weights, &tensors(), "with unused tensors");
}

#[test]
fn a_prefix_that_is_not_the_familys_is_shown() {
    let other = |name: &str| format!("module.bert.{name}");
    let all: Vec<Tensor> = tensors().into_iter().map(|t| Tensor { name: other(&t.name), ..t }).collect();
    let folder = folder(&[("model.safetensors", &serialize(&all))]);
    insta::assert_snapshot!(shown(&open(&folder).expect_err("refused"), folder.path()), @r"
    FOLDER/model.safetensors: tensor `embeddings.word_embeddings.weight` is missing, expected shape [10, 4]
    hint: the file holds `module.bert.embeddings.word_embeddings.weight`: save the encoder alone, so that its names have no prefix
    ");
}

#[test]
fn a_file_of_another_kind_in_place_of_weights_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 440473133\n";
    let table: [(&[u8], &str, &str); 8] = [
        (pointer, "a git-lfs pointer, expected a complete safetensors file", "run `git lfs pull`"),
        (b"<!DOCTYPE html>\n<html><head>", "an HTML page, expected", "download it again"),
        (b"<?xml version='1.0'?><Error>", "an XML page, expected", "download it again"),
        (b"", "an empty file, expected", "download the file again"),
        (
            b"PK\x03\x04\0\0archive/data.pkl",
            "a zip archive, as PyTorch writes it, expected",
            "rename it to pytorch_model.bin",
        ),
        (
            b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
            "a Python pickle, as PyTorch writes it",
            "rename it to pytorch_model",
        ),
        (b"Entry not found", "its first 8 bytes are not the length of a header", "download the file again"),
        (b"\xff\0\0", "3 bytes, too few for its header", "download the file again"),
    ];
    for (bytes, want, hint) in table {
        let folder = folder(&[("model.safetensors", bytes)]);
        let shown = shown(&open(&folder).expect_err(want), folder.path());
        assert!(shown.contains(&format!("FOLDER/model.safetensors: {want}")), "{shown}");
        assert!(shown.split("hint: ").nth(1).is_some_and(|text| text.contains(hint)), "{shown}");
    }
}

#[test]
fn family_prefix_and_old_names_of_layer_norms_make_no_difference() {
    let want = tensors();
    let renamed = |rename: &dyn Fn(&str) -> String| -> Vec<Tensor> {
        want.iter().map(|t| Tensor { name: rename(&t.name), ..t.clone() }).collect()
    };
    let old =
        |name: &str| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    assert_holds(&open_tensors(&want).expect("opens"), &want, "today's names");
    let prefixed = renamed(&|name| format!("bert.{name}"));
    assert_holds(&open_tensors(&prefixed).expect("opens"), &want, "with prefix");
    let ancient = renamed(&|name| format!("bert.{}", old(name)));
    assert_holds(&open_tensors(&ancient).expect("opens"), &want, "with prefix, gamma and beta");
}

#[test]
fn one_tensor_under_two_names_is_refused() {
    let mut all = tensors();
    all.push(Tensor { name: format!("bert.{}", all[0].name), ..all[0].clone() });
    let error = open_tensors(&all).expect_err("refused").to_string();
    assert!(error.contains("tensor `embeddings.word_embeddings.weight` appears twice"), "{error}");
}

#[test]
fn weights_without_a_pooler_open_and_say_so() {
    let all: Vec<Tensor> = tensors().into_iter().filter(|t| !t.name.starts_with("pooler")).collect();
    let weights = open_tensors(&all).expect("opens");
    assert!(!weights.contains("pooler.dense.weight"));
    let error =
        weights.read("pooler.dense.weight", &[HIDDEN, HIDDEN], &mut [0.0; HIDDEN * HIDDEN]).expect_err("missing");
    assert!(error.to_string().ends_with("tensor `pooler.dense.weight` is missing, expected shape [4, 4]"), "{error}");
}

/// Two shards and their index, after `change` has edited the index.
fn sharded(change: impl Fn(&mut Value)) -> (TempDir, Vec<Tensor>) {
    let all = tensors();
    let (first, second) = all.split_at(all.len() / 2);
    let name = |n: usize| format!("model-0000{n}-of-00002.safetensors");
    let mut map = serde_json::Map::new();
    for (n, part) in [(1, first), (2, second)] {
        map.extend(part.iter().map(|t| (t.name.clone(), json!(name(n)))));
    }
    let mut index = json!({"metadata": {}, "weight_map": map});
    change(&mut index);
    let folder = folder(&[
        (&name(1), &serialize(first)),
        (&name(2), &serialize(second)),
        ("model.safetensors.index.json", index.to_string().as_bytes()),
    ]);
    (folder, all)
}

#[test]
fn shards_are_found_through_the_index() {
    let (folder, all) = sharded(|_| {});
    assert_holds(&open(&folder).expect("opens"), &all, "sharded");
}

#[test]
fn a_bad_index_or_a_missing_shard_is_an_error() {
    let (folder, _) = sharded(|_| {});
    fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).expect("removes");
    insta::assert_snapshot!(shown(&open(&folder).expect_err("refused"), folder.path()), @r"
    FOLDER/model-00002-of-00002.safetensors does not exist
    hint: the index names this shard: copy it into the folder
    ");
    let (folder, _) = sharded(|index| index["weight_map"]["x"] = json!("../elsewhere.safetensors"));
    insta::assert_snapshot!(shown(&open(&folder).expect_err("refused"), folder.path()), @r"
    FOLDER/model.safetensors.index.json: shard `../elsewhere.safetensors`, expected a file inside the folder
    hint: copy or download the file again and compare its checksum
    ");
    for text in ["", "{", "[]", "{}", r#"{"weight_map": {"x": 3}}"#, r#"{"weight_map": {}}"#, "\u{0}"] {
        let (folder, _) = sharded(|_| {});
        fs::write(folder.path().join("model.safetensors.index.json"), text).expect("index");
        let error = open(&folder).expect_err(text);
        assert!(matches!(error, ModelError::Corrupt { .. }), "{text}: {error}");
    }
}

#[test]
fn pickled_weights_alone_are_refused_with_the_conversion() {
    let folder = folder(&[("pytorch_model.bin", b"\x80\x02")]);
    insta::assert_snapshot!(shown(&open(&folder).expect_err("refused"), folder.path()), @r#"
    FOLDER/model.safetensors does not exist
    hint: there is only pytorch_model.bin; convert it once: python -c "import sys, torch; from safetensors.torch import save_file; save_file({k: v.clone().contiguous() for k, v in torch.load(sys.argv[1], map_location='cpu', weights_only=True).items()}, sys.argv[2], {'format': 'pt'})" FOLDER/pytorch_model.bin FOLDER/model.safetensors
    "#);
    let empty = self::folder(&[]);
    insta::assert_snapshot!(shown(&open(&empty).expect_err("refused"), empty.path()), @r"
    FOLDER/model.safetensors does not exist
    hint: a model is a Hugging Face folder with config.json, model.safetensors and tokenizer files
    ");
}

/// The file of the tiny BERT, and the offset of its data.
fn whole_file() -> (Vec<u8>, usize) {
    let whole = serialize(&tensors());
    let header = u64::from_le_bytes(*whole.first_chunk().expect("8 bytes")) as usize;
    (whole, 8 + header)
}

#[test]
fn a_file_cut_anywhere_is_corrupt() {
    let (whole, header) = whole_file();
    let folder = folder(&[]);
    let path = folder.path().join("model.safetensors");
    // All lengths within the header are tried. Cuts within the data are alike, so every 37th is enough.
    for length in (0..whole.len()).filter(|length| *length < header + 8 || length % 37 == 0) {
        fs::write(&path, &whole[..length]).expect("writes");
        let error = open(&folder).expect_err("cut");
        assert!(matches!(error, ModelError::Corrupt { .. }), "cut to {length} of {}: {error}", whole.len());
    }
    fs::write(&path, &whole[..whole.len() - 1]).expect("writes");
    insta::assert_snapshot!(shown(&open(&folder).expect_err("cut"), folder.path()), @r"
    FOLDER/model.safetensors: 3263 bytes, not the number that its header gives, expected a complete safetensors file
    hint: copy or download the file again and compare its checksum
    ");
}

#[test]
fn a_damaged_header_is_an_error_or_harmless() {
    let all = tensors();
    let (whole, header) = whole_file();
    let folder = folder(&[]);
    for at in 0..header {
        // A digit changes sizes and offsets but often leaves valid JSON; 0xff is never valid UTF-8.
        for damage in [b'9', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = damage;
            fs::write(folder.path().join("model.safetensors"), &bytes).expect("writes");
            let Ok(weights) = open(&folder) else { continue };
            for tensor in &all {
                let mut out = vec![0.0; tensor.shape.iter().product()];
                let _ = weights.read(&tensor.name, &tensor.shape, &mut out); // must not panic
            }
        }
    }
}

#[test]
fn impossible_headers_are_corrupt() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let tensor = |shape: &str, offsets: &str| {
        file(
            &format!(
                r#"{{"embeddings.word_embeddings.weight":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#
            ),
            16,
        )
    };
    let table = [
        ("a header of 2^64 - 1 bytes", u64::MAX.to_le_bytes().to_vec()),
        ("a header longer than the file", [&1000u64.to_le_bytes()[..], b"{}"].concat()),
        ("not JSON", file("model", 0)),
        ("not an object", file("[]", 0)),
        ("not UTF-8", [&2u64.to_le_bytes()[..], b"\xff\xfe"].concat()),
        ("an unknown type", file(r#"{"x":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4)),
        ("a negative size", tensor("[-4]", "[0,16]")),
        ("sizes that overflow", tensor("[4294967296,4294967296,4]", "[0,16]")),
        ("another size than its bytes", tensor("[5]", "[0,16]")),
        ("bytes beyond the end", tensor("[8]", "[0,32]")),
        ("bytes that run backward", tensor("[4]", "[16,0]")),
        ("bytes with a gap before them", tensor("[2]", "[8,16]")),
        ("nesting without end", file(&"[".repeat(100_000), 0)),
    ];
    for (what, bytes) in table {
        let error = open(&folder(&[("model.safetensors", &bytes)])).expect_err(what);
        assert!(matches!(error, ModelError::Corrupt { .. }), "{what}: {error}");
    }
}

#[test]
fn a_config_of_another_model_is_refused_before_memory_is_allocated() {
    let table = [
        (
            json!({"vocab_size": 11}),
            "tensor `embeddings.word_embeddings.weight` has shape [10, 4], expected [11, 4], as config.json says",
        ),
        (json!({"vocab_size": 100_000_000}), "tensor `embeddings.word_embeddings.weight` has shape [10, 4]"),
        (json!({"hidden_size": 100_000_000}), "tensor `embeddings.word_embeddings.weight` has shape [10, 4]"),
        (json!({"max_position_embeddings": 512}), "tensor `embeddings.position_embeddings.weight` has shape [6, 4]"),
        (json!({"type_vocab_size": 1}), "tensor `embeddings.token_type_embeddings.weight` has shape [2, 4]"),
        (
            json!({"intermediate_size": 100_000_000}),
            "tensor `encoder.layer.0.intermediate.dense.weight` has shape [8, 4]",
        ),
        (json!({"num_hidden_layers": 2}), "tensor `encoder.layer.1.intermediate.dense.weight` is missing"),
        (
            json!({"num_hidden_layers": 100_000_000}),
            "tensor `encoder.layer.99999999.intermediate.dense.weight` is missing",
        ),
    ];
    let folder = folder(&[("model.safetensors", &serialize(&tensors()))]);
    for (change, want) in table {
        let config = read_config(&folder, &config_json(&change)).expect("a possible config");
        let error = Weights::open(folder.path(), &config).expect_err(want).to_string();
        assert!(error.contains(want), "{change}: {error}");
    }
    let mut deeper = tensors();
    let second: Vec<Tensor> = deeper.iter().filter(|t| t.name.starts_with("encoder.layer.0.")).cloned().collect();
    deeper.extend(second.into_iter().map(|t| Tensor { name: t.name.replace("layer.0", "layer.1"), ..t }));
    let error = open_tensors(&deeper).expect_err("one layer more than config.json says").to_string();
    assert!(error.contains("belongs to layer 1, expected layers 0 to 0, as num_hidden_layers"), "{error}");
}

#[test]
fn impossible_configs_name_the_key() {
    let table = [
        (
            json!({"num_attention_heads": 0}),
            "key `num_attention_heads` is `0`, expected a whole number from 1 to 100000000",
        ),
        (json!({"num_attention_heads": 3}), "key `num_attention_heads` is `3`, expected a divisor of hidden_size 4"),
        (
            json!({"num_attention_heads": 65, "hidden_size": 130}),
            "key `num_attention_heads` is `65`, expected at most 64",
        ),
        (json!({"hidden_size": 0}), "key `hidden_size` is `0`"),
        (json!({"hidden_size": -4}), "key `hidden_size` is `-4`"),
        (json!({"hidden_size": 4.5}), "key `hidden_size` is `4.5`"),
        (json!({"hidden_size": "4"}), "key `hidden_size` is `\"4\"`"),
        (json!({"hidden_size": u64::MAX}), "key `hidden_size` is `18446744073709551615`"),
        (json!({"num_hidden_layers": 0}), "key `num_hidden_layers` is `0`"),
        (json!({"vocab_size": [10]}), "key `vocab_size` is `[10]`"),
        (json!({"max_position_embeddings": 1e300}), "key `max_position_embeddings` is `1e+300`"),
        (
            json!({"model_type": "roberta", "max_position_embeddings": 2}),
            "key `max_position_embeddings` is `2`, expected more than pad_token_id + 1",
        ),
        (json!({"pad_token_id": 0.5}), "key `pad_token_id` is `0.5`"),
        (json!({"pad_token_id": -1}), "key `pad_token_id` is `-1`"),
        (json!({"layer_norm_eps": -1e-12}), "key `layer_norm_eps` is `-1e-12`"),
        (json!({"hidden_dropout_prob": 1.0}), "key `hidden_dropout_prob` is `1.0`"),
        (json!({"classifier_dropout": "none"}), "key `classifier_dropout` is `\"none\"`"),
        (json!({"hidden_act": "relu"}), "key `hidden_act` is `\"relu\"`, expected `gelu`, the only one supported"),
        (json!({"position_embedding_type": "relative_key"}), "key `position_embedding_type`"),
        (json!({"is_decoder": true}), "key `is_decoder` is `true`"),
        (json!({"pruned_heads": {"0": [1]}}), "key `pruned_heads` is `{\"0\":[1]}`, expected `{}`"),
        (json!({"model_type": "gpt2"}), "key `model_type` is `\"gpt2\"`, expected `bert` or `roberta`"),
        (json!({"model_type": null}), "key `model_type` is `null`"),
    ];
    for (change, want) in table {
        let folder = tempfile::tempdir().expect("folder");
        let error = read_config(&folder, &config_json(&change)).expect_err(want);
        assert!(error.to_string().contains(want), "{change}: {error}");
    }
}

#[test]
fn an_unsupported_family_is_named_with_the_supported_ones() {
    let table = [
        (json!("distilbert"), "DistilBERT encoders are not supported yet; BERT and RoBERTa encoders are"),
        (json!("xlm-roberta"), "XLM-RoBERTa encoders are not supported yet; BERT and RoBERTa encoders are"),
        (json!("camembert"), "CamemBERT encoders are not supported yet; BERT and RoBERTa encoders are"),
        (json!("llama"), "only BERT and RoBERTa encoders are supported so far"),
        (json!(null), "add `\"model_type\": \"bert\"` or `\"roberta\"`, whichever fits the encoder"),
    ];
    for (model_type, want) in table {
        let folder = tempfile::tempdir().expect("folder");
        let error = read_config(&folder, &config_json(&json!({"model_type": model_type}))).expect_err(want);
        assert_eq!(error.hint().as_deref(), Some(want), "{error}");
    }
    let folder = tempfile::tempdir().expect("folder");
    let mut json = config_json(&json!({}));
    json.as_object_mut().expect("an object").remove("model_type");
    let error = read_config(&folder, &json).expect_err("no model_type");
    assert!(error.to_string().ends_with("key `model_type` is absent, expected `bert` or `roberta`"), "{error}");
}

#[test]
fn the_error_for_a_missing_folder_says_that_nothing_is_downloaded() {
    let here = std::env::current_dir().expect("folder");
    let hint = |name: &str| EncoderConfig::read(Path::new(name)).expect_err(name).hint().unwrap_or_default();
    let error = EncoderConfig::read(Path::new("roberta-base")).expect_err("no such folder");
    insta::assert_snapshot!(shown(&error, &here), @r"
    roberta-base does not exist
    hint: looked at FOLDER/roberta-base; models are not downloaded from the hub: download it first; a model is a Hugging Face folder with config.json, model.safetensors and tokenizer files
    ");
    assert!(hint("FacebookAI/roberta-base").contains("not downloaded"));
    for path in ["./models/roberta-base", "/nowhere/roberta-base", "models/base/roberta"] {
        assert!(!hint(path).contains("not downloaded"), "{path}");
    }
    let place = tempfile::tempdir().expect("folder");
    let file = place.path().join("config.json");
    fs::write(&file, "{}").expect("file");
    for (path, want) in [(&file, "is a file, expected the folder of a model"), (&file.join("x"), "does not exist")] {
        let error = EncoderConfig::read(path).expect_err(want).to_string();
        assert!(error.ends_with(want), "{error}");
    }
}

#[test]
fn a_config_that_is_not_a_json_object_is_corrupt() {
    let nested = "[".repeat(100_000);
    for bytes in [&b"{"[..], b"[]", b"null", b"\xff", nested.as_bytes()] {
        let folder = folder(&[("config.json", bytes)]);
        let error = EncoderConfig::read(folder.path()).expect_err("refused");
        assert!(matches!(error, ModelError::Corrupt { .. }), "{error}");
    }
    let others: [(&[u8], &str); 3] = [
        (b"", "an empty file, expected a JSON object"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer, expected a JSON object"),
        (b"\n<html lang=en>", "an HTML page, expected a JSON object"),
    ];
    for (bytes, want) in others {
        let error = EncoderConfig::read(folder(&[("config.json", bytes)]).path()).expect_err(want).to_string();
        assert!(error.ends_with(want), "{error}");
    }
}
