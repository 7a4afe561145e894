"""Makes the tokenizer fixtures: small trained vocabularies, and the tokens of texts by the Python libraries.

A lower-casing WordPiece vocabulary, one that keeps case, and a byte-level BPE. `golden.json` lists folders as users
have them (tokenizer.json alone; vocab.txt with or without tokenizer_config.json; vocab.json and merges.txt), and for
each the token ids, type ids and character offsets of texts and pairs, whole and cut. `folders.json` is a table of many
more folders, in which files agree, disagree or are wrong. All are read by `AutoTokenizer.from_pretrained`.
"""

import argparse
import datetime
import json
import platform
import random
import tempfile
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
LENGTH = 64
RANDOM = 60

CORPUS = """\
The committee has not said whether the old bridge will be rebuilt before the winter.
Nobody who saw the film believed that its ending was the director's own idea.
A quiet, funny and unhurried story about two sisters who share one coat.
She doesn't think it's fair; they don't either, and we've told them so.
In 1969 the river rose by 3.5 metres, and the town's lower streets were under water for eleven days.
Which of the two reports is right? Both say that the bank lost $2,000,000.
The naïve café owner in Málaga sold crème brûlée to a señor from Ångermanland.
Zürich, Genève and København are cities; Straße means street.
The reviewer called it unwatchable, overlong, undercooked and, worst of all, unfunny.
He walked, she was walking, they had walked: walkers walk.
It rains in Spain; the rain stays on the plain. It rained, too, on the train.
He gave the book to the woman that his brother had met in the library.
The cat that the dog that the man owned chased slept on the sofa.
Interest rates were cut again, the central bank announced on Tuesday.
The premise entails the hypothesis, or it does not; there is no third answer.
""".splitlines()

SINGLES = [
    "The bridge will be rebuilt before the winter.",
    "She doesn't think it's FAIR; they DON'T either!",
    "The naïve Café owner in Málaga sold crème brûlée.",
    "Straße, İstanbul, Ångström, ŒUVRE",
    "cafe\u0301 is not one letter more than caf\u00e9",
    "北京 and 東京 are cities",
    "unwatchable undercookedness",
    "a  b\tc\nd",
    "  leading and trailing  ",
    "fox 🦊 and family 👩\u200d👧",
    "soft\u00adhyphen, no\u00a0break, zero\u200bwidth, control\u0001",
    "w" * 101,
    "[MASK] and <mask> and </s> and [SEP] inside",
    "##ing $2,000,000 -- 3.5%...",
    "",
]
PAIRS = [
    ("It rains in Spain.", "The rain stays on the plain."),
    ("Interest rates were cut again, the central bank announced on Tuesday.", "Rates rose."),
    ("Rates rose.", "Interest rates were cut again, the central bank announced on Tuesday."),
    ("They don't, Café", "北京 🦊"),
    ("", "The second text alone."),
    ("The first text alone.", ""),
]
CUTS = [6, 7, 8, 13]


def word_pieces(tokenizer: Tokenizer, merges: int) -> list[str]:
    """Single characters and the commonest longer pieces of the corpus, each also as a continuation.

    The trainer for WordPiece gives ids in an order that changes by run, so the pieces come from one for BPE.
    """
    bare = Tokenizer(models.BPE())
    bare.normalizer, bare.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    bare.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=10_000, show_progress=False, max_token_length=8))
    ordered = [token for token, _ in sorted(bare.get_vocab().items(), key=lambda item: item[1])]
    letters = [piece for piece in ordered if len(piece) == 1]
    longer = [piece for piece in ordered if len(piece) > 1][:merges]
    return [*letters, "北", "京", *longer, *(f"##{piece}" for piece in letters + longer)]


def word_piece(lowercase: bool) -> Tokenizer:
    """A BERT tokenizer trained on the corpus."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    pieces = [*BERT_SPECIALS, *word_pieces(tokenizer, 90)]
    tokenizer.model = models.WordPiece({piece: id for id, piece in enumerate(pieces)}, unk_token="[UNK]")
    tokenizer.add_special_tokens(BERT_SPECIALS)
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ids
    )
    return tokenizer


def byte_level_bpe(vocabulary_size: int) -> Tokenizer:
    """A RoBERTa tokenizer trained on the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    mask = AddedToken("<mask>", lstrip=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[*ROBERTA_SPECIALS, mask],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    sep, cls = ((token, tokenizer.token_to_id(token)) for token in ("</s>", "<s>"))
    tokenizer.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def write_tokenizers(out: Path) -> None:
    """`<name>.json` of each tokenizer and the older files that hold the same vocabulary."""
    for name, lowercase in (("uncased", True), ("cased", False)):
        tokenizer = word_piece(lowercase)
        # As sentence-transformers publishes it: with the padding and truncation of its own training run.
        tokenizer.enable_padding(length=20, pad_token="[PAD]")
        tokenizer.enable_truncation(10)
        tokenizer.save(str(out / f"{name}.json"))
        vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        (out / f"{name}.vocab.txt").write_text("".join(f"{token}\n" for token, _ in vocabulary), encoding="utf-8")
    tokenizer = byte_level_bpe(360)
    tokenizer.save(str(out / "bpe.json"))
    model = json.loads(tokenizer.to_str())["model"]
    (out / "bpe.vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False) + "\n", encoding="utf-8")
    merges = "".join(f"{left} {right}\n" for left, right in model["merges"])
    (out / "bpe.merges.txt").write_text(f"#version: 0.2\n{merges}", encoding="utf-8")


UNCASED, CASED = {"vocab.txt": "uncased.vocab.txt"}, {"vocab.txt": "cased.vocab.txt"}
UNCASED_JSON, CASED_JSON = {"tokenizer.json": "uncased.json"}, {"tokenizer.json": "cased.json"}
BPE = {"vocab.json": "bpe.vocab.json", "merges.txt": "bpe.merges.txt"}
BPE_JSON = {"tokenizer.json": "bpe.json"}
# Name, family, files as they are called in the user's folder, tokenizer_config.json (None: there is none).
FOLDERS = [
    ("tokenizer.json alone, with padding and truncation of its own", "bert", UNCASED_JSON, None),
    ("vocab.txt alone", "bert", UNCASED, None),
    ("vocab.txt, lower-cased by tokenizer_config.json", "bert", UNCASED, {"do_lower_case": True}),
    ("vocab.txt, case kept", "bert", CASED, {"do_lower_case": False}),
    ("vocab.txt, case kept, accents stripped", "bert", CASED, {"do_lower_case": False, "strip_accents": True}),
    ("vocab.txt, lower-cased, accents kept", "bert", CASED, {"do_lower_case": True, "strip_accents": False}),
    ("vocab.txt, Chinese characters not split", "bert", UNCASED, {"tokenize_chinese_chars": False}),
    ("tokenizer.json, case kept", "bert", CASED_JSON, {"do_lower_case": False}),
    ("tokenizer.json that keeps case, alone", "bert", CASED_JSON, None),
    ("tokenizer.json of RoBERTa alone", "roberta", BPE_JSON, None),
    ("vocab.json and merges.txt alone", "roberta", BPE, None),
    ("vocab.json and merges.txt, a space put in front", "roberta", BPE, {"add_prefix_space": True}),
]

# Texts of the table: casing, accents, CJK, spaces, added tokens alone, in words, next to spaces, and in other case.
TABLE_TEXTS = [
    ("The bridge will be REBUILT; naïve Café, Straße, cafe\u0301",),
    ("北京 and 東京 are cities 🦊",),
    ("  leading and trailing  ",),
    ("a  b\tc\nd soft\u00adhyphen",),
    ("It rains <x> in <X>spain<x>s <x>.",),
    ("[MASK] and <mask> and </s> and [SEP] inside, <pad> [PAD]",),
    ("crème café the rainy plain Rain RAIN", "the <y> <y>more wins"),
    ("It rains in Spain.", "The rain stays on the plain."),
    ("It rains <x> in Spain.", "  The <x>rain stays"),
    ("", "The second text alone."),
    ("", ),
    ("##ing $2,000,000 -- 3.5%... x<x>x <y>",),
]


def token(content: str, **flags: bool) -> dict:
    """An added token as newer files write it."""
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False} | flags


def typed(content: str, **flags: bool) -> dict:
    """An added token as tokenizer_config.json writes it among its settings."""
    return {"__type": "AddedToken"} | token(content, **flags)


CONFIG, MAP = "tokenizer_config", "special_tokens_map"
CLASS, DECODED, ADDITIONAL = "tokenizer_class", "added_tokens_decoder", "additional_special_tokens"
WHOLE = "PreTrainedTokenizerFast"
DECODER = {"305": token("<x>", special=False), "306": token("<y>", lstrip=True, rstrip=True, special=True)}
LAST = {"bert": 305, "roberta": 360}
NAMES = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ALL_NAMES = dict(zip(NAMES, ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]")))
OTHER_NAMES = dict(zip(NAMES, ("<unk>", "</s>", "<pad>", "<s>", "<mask>")))
PUBLISHED_BERT = ALL_NAMES | {
    "do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None, "do_basic_tokenize": True,
    "never_split": None, "name_or_path": "someone/model", "tokenizer_class": "BertTokenizer", "model_max_length": 512,
    "clean_up_tokenization_spaces": True, "padding_side": "right", "chat_template": "{{ x }}", "processor_class": "P",
}
PUBLISHED_ROBERTA = {
    "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "add_prefix_space": False, "errors": "replace",
    "sep_token": "</s>", "cls_token": "<s>", "pad_token": "<pad>", "model_max_length": 512, "trim_offsets": True,
    "mask_token": typed("<mask>", lstrip=True), "tokenizer_class": "RobertaTokenizer", "special_tokens_map_file": None,
}
# Model type, files, and what further JSON files say. A name is made of the three.
SETTINGS = [
    # tokenizer_config.json against tokenizer.json, and without it.
    *[("bert", files, {CONFIG: config}) for files in (CASED_JSON, UNCASED_JSON, CASED) for config in (
        {"do_lower_case": False}, {"do_lower_case": True}, {"do_lower_case": False, "strip_accents": True},
        {"do_lower_case": True, "strip_accents": False}, {"tokenize_chinese_chars": False}, {"strip_accents": None},
    )],
    ("bert", CASED_JSON, {}),
    *[("roberta", files, {CONFIG: {"add_prefix_space": add}})
      for files in (BPE, BPE_JSON) for add in (True, False)],
    ("roberta", BPE_JSON, {}),
    # Classes: by either file, old and new names, those that read tokenizer.json as it is.
    *[("bert", CASED_JSON, {CONFIG: {CLASS: name}}) for name in (
        "BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizerFast", WHOLE,
        "TokenizersBackend", "PreTrainedTokenizer",
    )],
    ("bert", CASED_JSON, {CONFIG: {CLASS: WHOLE, "do_lower_case": True}}),
    ("bert", CASED_JSON, {CONFIG: {
        CLASS: WHOLE, "model_input_names": ["input_ids", "token_type_ids"]}}),
    ("bert", UNCASED_JSON, {CONFIG: {"model_input_names": ["input_ids", "attention_mask"]}}),
    ("bert", CASED_JSON, {"config": {CLASS: WHOLE}}),
    ("bert", CASED_JSON, {"config": {CLASS: WHOLE},
                          CONFIG: {CLASS: "BertTokenizer"}}),
    ("bert", BPE_JSON, {CONFIG: {CLASS: "RobertaTokenizerFast"}}),
    ("bert", BPE, {CONFIG: {CLASS: "RobertaTokenizer", "add_prefix_space": True}}),
    ("roberta", BPE_JSON, {CONFIG: {CLASS: WHOLE, "add_prefix_space": True}}),
    ("roberta", UNCASED, {CONFIG: {CLASS: "BertTokenizer"}}),
    ("roberta", BPE_JSON, {CONFIG: {CLASS: "LongformerTokenizerFast"}}),
    ("bert", UNCASED, {CONFIG: {CLASS: WHOLE}}),
    # Settings of published folders, and those that change nothing.
    ("bert", UNCASED_JSON, {CONFIG: PUBLISHED_BERT, MAP: ALL_NAMES}),
    ("bert", UNCASED, {CONFIG: PUBLISHED_BERT, MAP: ALL_NAMES}),
    ("roberta", BPE_JSON, {CONFIG: PUBLISHED_ROBERTA}),
    ("roberta", BPE, {CONFIG: PUBLISHED_ROBERTA,
                      MAP: {"mask_token": token("<mask>", lstrip=True, normalized=False)}}),
    ("roberta", BPE, {MAP: {"mask_token": token("<mask>", lstrip=True, normalized=False)}}),
    ("bert", UNCASED_JSON, {CONFIG: {"add_bos_token": True, "bos_token": "<x>", "model_max_length": 5}}),
    ("bert", UNCASED, {CONFIG: {"add_eos_token": True, "eos_token": "<x>", "padding_side": "left"}}),
    *[(family, files, {CONFIG: {"split_special_tokens": True}, "added_tokens": {"<x>": LAST[family]}})
      for family, files in (("bert", UNCASED), ("bert", UNCASED_JSON), ("roberta", BPE_JSON))],
    # Special tokens: other names, by one file and by two that disagree; null; objects.
    *[("bert", CASED, {"renamed": OTHER_NAMES, name: OTHER_NAMES}) for name in (MAP, CONFIG)],
    ("bert", CASED, {"renamed": OTHER_NAMES, MAP: OTHER_NAMES, CONFIG: ALL_NAMES}),
    ("bert", CASED, {"renamed": OTHER_NAMES, MAP: ALL_NAMES, CONFIG: OTHER_NAMES}),
    ("bert", CASED, {"renamed": OTHER_NAMES, MAP: {k: token(v, normalized=False) for k, v in OTHER_NAMES.items()}}),
    ("bert", CASED, {"renamed": OTHER_NAMES, CONFIG: {k: typed(v, special=True, normalized=False)
                                                                  for k, v in OTHER_NAMES.items()}}),
    ("bert", UNCASED, {CONFIG: {"pad_token": None, "mask_token": None}}),
    ("bert", UNCASED, {CONFIG: {"mask_token": "<x>", "pad_token": "<y>"}}),
    ("bert", UNCASED_JSON, {MAP: {"mask_token": token("<x>", lstrip=True)}}),
    ("bert", UNCASED, {CONFIG: {"mask_token": token("<x>")}}),
    ("bert", UNCASED, {CONFIG: {"mask_token": 4}}),
    ("roberta", BPE, {CONFIG: {"mask_token": typed("<mask>", lstrip=True, rstrip=True)}}),
    # Added tokens: as text, as objects, by id, beyond the vocabulary, special by another file.
    *[(family, files, {"added_tokens": {"<x>": LAST[family], "<y>": LAST[family] + 1}})
      for family, files in (("bert", UNCASED), ("bert", UNCASED_JSON), ("roberta", BPE), ("roberta", BPE_JSON))],
    ("bert", UNCASED, {"added_tokens": {"<x>": 900, "<y>": 800}}),
    ("bert", UNCASED, {"added_tokens": {"<x>": 267, "rain": 268, "ains": 269}}),
    ("bert", UNCASED, {"added_tokens": {"<x>": 267, "<y>": 268}, MAP: {ADDITIONAL: ["<x>"]}}),
    ("bert", UNCASED, {"added_tokens": {"<x>": 267, "<y>": 268}, MAP: {"extra_special_tokens": ["<x>"]}}),
    ("bert", UNCASED, {"added_tokens": {"<x>": 267, "[MASK]": 4}, MAP: {"mask_token": "<x>"}}),
    *[(family, files, {CONFIG: {DECODED: DECODER}})
      for family, files in (("bert", UNCASED), ("bert", UNCASED_JSON), ("roberta", BPE), ("roberta", BPE_JSON))],
    ("bert", UNCASED_JSON, {CONFIG: {DECODED: DECODER}, "added_tokens": {"rains": 307},
                            MAP: {"mask_token": "<y>"}}),
    ("bert", CASED_JSON, {CONFIG: {CLASS: WHOLE, DECODED: DECODER}}),
    ("roberta", BPE_JSON, {CONFIG: {DECODED: {}}}),
    *[("bert", UNCASED, {CONFIG: {DECODED: {"267": token("<x>", **{flag: True})}}})
      for flag in ("lstrip", "rstrip", "single_word", "special")],
    ("bert", UNCASED, {CONFIG: {DECODED: {"267": token("<x>", normalized=False)}}}),
    ("bert", UNCASED, {CONFIG: {DECODED: {"267": {"content": "<X>"}, "268": {"content": "RAIN"}}}}),
    ("bert", CASED, {CONFIG: {"do_lower_case": False, DECODED: {
        "305": token("<X>", normalized=False), "306": token("RAIN", single_word=True)}}}),
    ("bert", UNCASED, {CONFIG: {DECODED: {"267": "<x>"}}}),
    ("bert", UNCASED, {CONFIG: {DECODED: {"267": token("<x>", colour="red")}}}),
    # Special tokens without a standard name.
    *[("bert", UNCASED, {name: {key: ["<x>", "<y>"]}}) for name in (CONFIG, MAP)
      for key in (ADDITIONAL, "extra_special_tokens")],
    ("bert", UNCASED, {CONFIG: {ADDITIONAL: [typed("<x>", lstrip=True), "<y>"]}}),
    ("bert", UNCASED, {MAP: {ADDITIONAL: [token("<x>")]}}),
    ("bert", UNCASED, {MAP: {"extra_special_tokens": [token("<x>", rstrip=True)]}}),
    ("bert", UNCASED, {CONFIG: {"extra_special_tokens": {"x_token": "<x>", "entity": "<y>"}}}),
    ("bert", UNCASED, {CONFIG: {"y_token": "<y>", "x_token": typed("<x>")}, MAP: {"z_token": "Rain"}}),
    ("bert", UNCASED, {CONFIG: {ADDITIONAL: ["<x>"]}, MAP: {ADDITIONAL: ["<y>"]}}),
    ("bert", UNCASED, {CONFIG: {ADDITIONAL: []}, MAP: {ADDITIONAL: ["<y>"]}}),
    ("bert", UNCASED, {CONFIG: {"extra_special_tokens": ["<x>"], ADDITIONAL: ["<y>"]}}),
    ("bert", CASED_JSON, {CONFIG: {CLASS: WHOLE, "mask_token": "<y>",
                                               ADDITIONAL: ["<x>"]}}),
    # Values of a wrong kind.
    *[("bert", UNCASED, {CONFIG: config}) for config in (
        {"do_lower_case": "no"}, {"do_lower_case": None}, {"do_lower_case": 0}, {"tokenize_chinese_chars": None},
        {"strip_accents": "yes"}, {"extra_special_tokens": "<x>"},
    )],
    ("roberta", BPE, {CONFIG: {"add_prefix_space": None}}),
]


def chosen(seed: int) -> tuple[str, dict, dict]:
    """Settings drawn at random, so that files meet that nobody thought of together."""
    draw = random.Random(seed)
    family = draw.choice(["bert", "roberta"])
    files = draw.choice([UNCASED, UNCASED_JSON, CASED, CASED_JSON] if family == "bert" else [BPE, BPE_JSON])
    flags = lambda: {flag: draw.random() < 0.3 for flag in ("lstrip", "rstrip", "single_word", "normalized", "special")}
    config = {key: draw.choice([True, False]) for key in (
        "do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space", "split_special_tokens",
    ) if draw.random() < 0.25}
    if "tokenizer.json" in files and draw.random() < 0.3:
        config[CLASS] = WHOLE
    names = ["mask_token", "pad_token", "bos_token"]
    texts = ["<x>", "<y>", "rain", "[MASK]", "<mask>", "Spain"]
    if draw.random() < 0.4:
        first = LAST[family]
        numbers = range(first, first + draw.randint(0, 3))
        config[DECODED] = {str(number): token(draw.choice(texts), **flags()) for number in numbers}
    for name in names:
        if draw.random() < 0.2:
            config[name] = draw.choice([draw.choice(texts), typed(draw.choice(texts), **flags()), None])
    if draw.random() < 0.3:
        config[draw.choice([ADDITIONAL, "extra_special_tokens"])] = draw.sample(texts, draw.randint(0, 2))
    said = {CONFIG: config}
    if draw.random() < 0.4:
        said[MAP] = {name: draw.choice([draw.choice(texts), token(draw.choice(texts), **flags())])
                     for name in names if draw.random() < 0.5}
        if draw.random() < 0.3:
            said[MAP][ADDITIONAL] = draw.sample(texts, 2)
    if draw.random() < 0.4:
        said["added_tokens"] = {text: 400 + n for n, text in enumerate(draw.sample(texts, draw.randint(1, 3)))}
    return family, files, said


def load(folder: Path) -> "transformers.PreTrainedTokenizerBase":
    """The tokenizer of a folder, as the library chooses it."""
    return AutoTokenizer.from_pretrained(folder)


def lay_out(folder: Path, out: Path, family: str, files: dict[str, str], said: dict[str, dict]) -> None:
    """Writes the folder as a user has it; `renamed` in `said` changes special tokens within the vocabulary."""
    renamed = said.get("renamed", {})
    for name, source in files.items():
        text = (out / source).read_text(encoding="utf-8")
        for key, other in renamed.items():
            text = text.replace(f"{ALL_NAMES[key]}\n", f"{other}\n")
        (folder / name).write_text(text, encoding="utf-8")
    said = {"config": {}} | said
    for name, content in said.items():
        if name != "renamed":
            content = {"model_type": family} | content if name == "config" else content
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def case(tokenizer, texts: tuple[str, ...], max_length: int) -> dict:
    """What one input becomes when cut at `max_length`, longest text first. Batches, where an empty text is a text."""
    batch = [[text] for text in texts]
    whole = tokenizer(*batch)["input_ids"][0]
    cut = tokenizer(*batch, truncation=True, max_length=max_length, return_offsets_mapping=True)
    ids = cut["input_ids"][0]
    return {
        "texts": list(texts),
        "max_length": max_length,
        "ids": ids,
        "type_ids": cut["token_type_ids"][0] if "token_type_ids" in cut else [0] * len(ids),
        "offsets": [list(pair) for pair in cut["offset_mapping"][0]],
        "truncated": len(ids) < len(whole),
    }


def golden_of(out: Path, family: str, files: dict[str, str], config: dict | None) -> list[dict]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        lay_out(folder, out, family, files, {} if config is None else {"tokenizer_config": config})
        tokenizer = load(folder)
    inputs = [((text,), LENGTH) for text in SINGLES] + [(pair, LENGTH) for pair in PAIRS]
    inputs += [((SINGLES[0],), CUTS[0])] + [(pair, cut) for pair in PAIRS for cut in CUTS]
    return [case(tokenizer, texts, max_length) for texts, max_length in inputs]


def attempt(tokenizer, texts: tuple[str, ...]):
    """The encoded texts; None where the model has no unknown token and would need it."""
    try:
        return tokenizer(*[[text] for text in texts])
    except Exception:  # the class is not exported
        return None


def row_of(out: Path, family: str, files: dict[str, str], said: dict[str, dict]) -> dict:
    """One folder of the table: ids and type ids of every text, or what the library says against it."""
    row = {"family": family, "files": files, "said": said}
    with tempfile.TemporaryDirectory() as place:
        lay_out(Path(place), out, family, files, said)
        try:
            tokenizer = load(Path(place))
        except Exception as error:  # whatever it is, the library refuses the folder
            return row | {"refused": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
    made_up = [token for token in (tokenizer.cls_token, tokenizer.sep_token)
               if token and tokenizer.convert_tokens_to_ids(token) >= tokenizer.vocab_size]
    if made_up:
        return row | {"refused": f"the library gives a new id to {', '.join(made_up)}, which the encoder never saw"}
    encoded = [attempt(tokenizer, texts) for texts in TABLE_TEXTS]
    ids = [one["input_ids"][0] if one else None for one in encoded]
    second = [sum(one["token_type_ids"][0]) if one and "token_type_ids" in one else 0 for one in encoded]
    return row | {"tokens": len(tokenizer), "ids": ids, "second": second}


def write_table(out: Path, made: dict) -> None:
    """`folders.json`: every folder of SETTINGS, and RANDOM drawn ones."""
    rows = [row_of(out, *settings) for settings in [*SETTINGS, *map(chosen, range(RANDOM))]]
    lines = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in rows)
    texts = json.dumps([list(texts) for texts in TABLE_TEXTS])
    head = f'"made": {json.dumps(made)},\n"texts": {texts}'
    (out / "folders.json").write_text(f'{{{head},\n"folders": [\n  {lines}\n]}}\n', encoding="utf-8")
    print(f"{len(rows)} folders, {sum('refused' in row for row in rows)} of them refused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("crates/stepstone-tasks/tests/golden"))
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    write_tokenizers(out)
    made = {
        "made_by": f"tools/golden/{Path(__file__).name}",
        "made_on": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "tokenizers": tokenizers.__version__,
        "transformers": transformers.__version__,
    }
    lines = [f'{{"made": {json.dumps(made)},', '"folders": [']
    for number, (name, family, files, config) in enumerate(FOLDERS):
        cases = golden_of(out, family, files, config)
        head = {"name": name, "family": family, "files": files, "tokenizer_config": config}
        rows = ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in cases)
        lines.append(f"{json.dumps(head)[:-1]}, \"cases\": [\n  {rows}\n]}}{',' if number < len(FOLDERS) - 1 else ''}")
        print(f"{name}: {len(cases)} cases")
    lines.append("]}\n")
    (out / "golden.json").write_text("\n".join(lines), encoding="utf-8")
    write_table(out, made)


if __name__ == "__main__":
    main()
