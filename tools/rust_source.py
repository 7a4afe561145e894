"""A reading of Rust source files that is good enough to count by: no parser, but strings, comments and tests are told apart.

Known limits: macros are read as plain code, and an item made by a macro is not seen.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# In order of trial: what may hide braces, quotes and slashes. A lifetime (`'a`) is not a character literal.
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)
    |(?P<block>/\*)
    |(?P<raw>b?r(?P<hashes>\#*)".*?"(?P=hashes))
    |(?P<string>b?"(?:\\.|[^"\\])*")
    |(?P<character>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^\\'\n])')""",
    re.DOTALL | re.VERBOSE,
)


def blanked(text: str) -> str:
    """`text` of the same length and lines without comments and the contents of literals."""
    pieces, at = [], 0
    while match := TOKEN.search(text, at):
        start, end = match.span()
        if match["block"]:
            end = end_of_block_comment(text, start)
        elif match["raw"] and start > 0 and (text[start - 1].isalnum() or text[start - 1] == "_"):
            end = start + 1  # an identifier that ends in r, before a string
            pieces.append(text[at:end])
            at = end
            continue
        hidden = re.sub(r"[^\n]", " ", text[start:end])
        if not (match["comment"] or match["block"]) and len(hidden) >= 2:
            hidden = '"' + hidden[1:-1] + '"'
        pieces += [text[at:start], hidden]
        at = end
    return "".join(pieces) + text[at:]


def end_of_block_comment(text: str, start: int) -> int:
    """Block comments nest."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def closing(code: str, start: int) -> int:
    """The index of the bracket that closes the one at `start` in blanked code."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    opening, close = code[start], pairs[code[start]]
    depth = 0
    for index in range(start, len(code)):
        if code[index] == opening:
            depth += 1
        elif code[index] == close:
            depth -= 1
            if depth == 0:
                return index
    return len(code) - 1


TEST_ITEM = re.compile(r"#\[cfg\((?:test|all\(test[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*")


def test_spans(code: str) -> list[tuple[int, int]]:
    """Where the items under `#[cfg(test)]` stand in blanked code."""
    spans = []
    for match in TEST_ITEM.finditer(code):
        if spans and match.start() < spans[-1][1]:
            continue
        brace, semicolon = code.find("{", match.end()), code.find(";", match.end())
        if brace < 0 or 0 <= semicolon < brace:
            spans.append((match.start(), semicolon + 1))
        else:
            spans.append((match.start(), closing(code, brace) + 1))
    return spans


def without(code: str, spans: list[tuple[int, int]]) -> str:
    """Blanked code without the characters of `spans`, lines kept."""
    for start, end in spans:
        code = code[:start] + re.sub(r"[^\n]", " ", code[start:end]) + code[end:]
    return code


@dataclass
class Source:
    """One file: its text, the blanked code, and the blanked code without tests."""

    path: Path
    text: str
    code: str
    body: str


def read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    code = blanked(text)
    return Source(path, text, code, without(code, test_spans(code)))
