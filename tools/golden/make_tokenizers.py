"""Makes the tokenizer fixtures: small trained vocabularies, and what Python makes of texts with them.

A lower-casing WordPiece vocabulary, one that keeps case, and a byte-level BPE. `golden.json` lists folders as users
have them (tokenizer.json alone; vocab.txt with or without tokenizer_config.json; vocab.json and merges.txt), and for
each the token ids, type ids and character offsets of texts and pairs, whole and cut. A folder with tokenizer.json is
read by `tokenizers`, any other by the class of transformers.
"""

import argparse
import datetime
import json
import platform
import tempfile
from pathlib import Path

import tokenizers
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, RobertaTokenizer

BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
LENGTH = 64

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
BPE = {"vocab.json": "bpe.vocab.json", "merges.txt": "bpe.merges.txt"}
# Name, family, files as they are called in the user's folder, tokenizer_config.json (None: there is none).
FOLDERS = [
    ("tokenizer.json alone, with padding and truncation of its own", "bert", {"tokenizer.json": "uncased.json"}, None),
    ("vocab.txt alone", "bert", UNCASED, None),
    ("vocab.txt, lower-cased by tokenizer_config.json", "bert", UNCASED, {"do_lower_case": True}),
    ("vocab.txt, case kept", "bert", CASED, {"do_lower_case": False}),
    ("vocab.txt, case kept, accents stripped", "bert", CASED, {"do_lower_case": False, "strip_accents": True}),
    ("vocab.txt, lower-cased, accents kept", "bert", CASED, {"do_lower_case": True, "strip_accents": False}),
    ("vocab.txt, Chinese characters not split", "bert", UNCASED, {"tokenize_chinese_chars": False}),
    ("tokenizer.json alone, case kept", "bert", {"tokenizer.json": "cased.json"}, None),
    ("tokenizer.json of RoBERTa alone", "roberta", {"tokenizer.json": "bpe.json"}, None),
    ("vocab.json and merges.txt alone", "roberta", BPE, None),
    ("vocab.json and merges.txt, a space put in front", "roberta", BPE, {"add_prefix_space": True}),
]


def load(folder: Path, family: str) -> Tokenizer:
    """The tokenizer of a folder, without padding and truncation."""
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        kind = BertTokenizer if family == "bert" else RobertaTokenizer
        tokenizer = kind.from_pretrained(folder).backend_tokenizer
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def case(tokenizer: Tokenizer, texts: tuple[str, ...], max_length: int) -> dict:
    """What one input becomes when cut at `max_length`, longest text first."""
    whole = tokenizer.encode(*texts)
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    cut = tokenizer.encode(*texts)
    tokenizer.no_truncation()
    return {
        "texts": list(texts),
        "max_length": max_length,
        "ids": cut.ids,
        "type_ids": cut.type_ids,
        "offsets": [list(pair) for pair in cut.offsets],
        "truncated": len(cut.ids) < len(whole.ids),
    }


def golden_of(out: Path, family: str, files: dict[str, str], config: dict | None) -> list[dict]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, source in files.items():
            (folder / name).write_bytes((out / source).read_bytes())
        if config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        tokenizer = load(folder, family)
    inputs = [((text,), LENGTH) for text in SINGLES] + [(pair, LENGTH) for pair in PAIRS]
    inputs += [((SINGLES[0],), CUTS[0])] + [(pair, cut) for pair in PAIRS for cut in CUTS]
    return [case(tokenizer, texts, max_length) for texts, max_length in inputs]


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


if __name__ == "__main__":
    main()
