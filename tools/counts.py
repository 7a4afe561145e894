"""Counts of the Rust code as one Markdown table: sizes of files and functions, tests, comments, circles.

    python tools/counts.py                 this checkout
    python tools/counts.py --at e074b04    a revision, unpacked into a temporary folder

What is counted. Files: `crates/*/{src,tests,benches,examples}/**/*.rs`. Test lines: files under `tests/`, items and modules
under `#[cfg(test)]`, and the fixtures crate; the rest is code. Lines of either are those that hold more than blanks and comments. A function's length runs
from `fn` to its closing brace; functions of tests count, since they are read too. Fields: of structs with named fields.
"""

import argparse
import re
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import circles
import rust_source

FUNCTION = re.compile(r"\bfn\s+(\w+)")
STRUCT = re.compile(r"\bstruct\s+(\w+)[^;{(]*\{")
PUBLIC = re.compile(r"^\s*pub\s+(?:const\s+|unsafe\s+)*(?:fn|struct|enum|trait|const|static|type)\s+(\w+)", re.MULTILINE)


def split_at_commas(code: str) -> list[str]:
    """Pieces of a parameter or field list; commas inside brackets do not part them."""
    code = code.replace("->", "  ")
    pieces, depth, start = [], 0, 0
    for index, character in enumerate(code):
        if character in "([{<":
            depth += 1
        elif character in ")]}>":
            depth -= 1
        elif character == "," and depth == 0:
            pieces.append(code[start:index])
            start = index + 1
    return [piece for piece in (*pieces, code[start:]) if piece.strip()]


@dataclass
class Function:
    name: str
    lines: int
    parameters: int  # with `self`, as Clippy counts


def functions(code: str) -> list[Function]:
    """The functions of blanked code that have a body."""
    found = []
    for match in FUNCTION.finditer(code):
        opening = parameters_start(code, match.end())
        if opening is None:
            continue
        close = rust_source.closing(code, opening)
        body = close + 1
        while body < len(code) and code[body] not in "{;":
            body = rust_source.closing(code, body) + 1 if code[body] in "[(" else body + 1
        if body >= len(code) or code[body] == ";":
            continue
        end = rust_source.closing(code, body)
        lines = code.count("\n", match.start(), end) + 1
        found.append(Function(match[1], lines, len(split_at_commas(code[opening + 1 : close]))))
    return found


def parameters_start(code: str, at: int) -> int | None:
    """The parenthesis after a function's name and its generics; None where there is none (`fn(u8)` as a type)."""
    depth = 0
    for index in range(at, len(code)):
        character = code[index]
        if character == "(" and depth == 0:
            return index
        depth += {"<": 1, ">": -(code[index - 1] != "-")}.get(character, 0)
        if character in "{;" and depth == 0:
            return None
    return None


def struct_fields(code: str) -> list[tuple[str, int]]:
    """Name and number of fields of each struct with named fields."""
    found = []
    for match in STRUCT.finditer(code):
        inside = code[match.end() : rust_source.closing(code, match.end() - 1)]
        while "[" in inside:  # attributes and arrays hold colons and commas of their own
            opening = inside.index("[")
            inside = inside[:opening] + inside[rust_source.closing(inside, opening) + 1 :]
        found.append((match[1], len(split_at_commas(inside))))
    return found


def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


@dataclass
class Part:
    """Lines of one crate."""

    code: int = 0
    tests: int = 0
    comments: int = 0  # `//` that are not documentation
    docs: int = 0  # `///` and `//!`


@dataclass
class Counts:
    files: list[tuple[int, str]] = field(default_factory=list)  # lines, path
    functions: list[tuple[int, int, str]] = field(default_factory=list)  # lines, parameters, where
    structs: list[tuple[int, str]] = field(default_factory=list)  # fields, where
    parts: dict[str, Part] = field(default_factory=dict)
    circles: list[tuple[str, int]] = field(default_factory=list)  # crate, files
    unused: list[str] = field(default_factory=list)  # public items named nowhere outside their crate


def comment_lines(source: rust_source.Source) -> tuple[int, int]:
    """Lines that hold a comment, and lines of documentation. The blanked code tells `//` in a string from a comment."""
    comments = docs = 0
    for line, code in zip(source.text.splitlines(), source.code.splitlines()):
        start = line.find("//")
        while start >= 0 and code[start : start + 2].strip():
            start = line.find("//", start + 2)
        if start < 0 or '"' in code[start:]:
            continue
        if line[start : start + 3] in ("///", "//!") and not line.startswith("////", start):
            docs += 1
        else:
            comments += 1
    return comments, docs


TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;")


def test_modules(paths: list[Path]) -> set[Path]:
    """Files that are modules for tests alone."""
    found = set()
    for path in paths:
        folder = path.parent if path.stem in ("lib", "main") else path.with_suffix("")
        found |= {folder / f"{name}.rs" for name in TEST_MODULE.findall(path.read_text(encoding="utf-8"))}
    return found


def count(checkout: Path) -> Counts:
    counts = Counts()
    sources = {}
    paths = sorted(checkout.glob("crates/*/**/*.rs"))
    tests = test_modules(paths)
    for path in paths:
        name = path.relative_to(checkout).as_posix()
        crate, folder = name.split("/")[1:3]
        if folder not in ("src", "tests", "benches", "examples"):
            continue
        source = sources[name] = rust_source.read(path)
        counts.files.append((source.text.count("\n"), name))
        part = counts.parts.setdefault(crate, Part())
        is_code = folder in ("src", "examples") and path not in tests and crate != "stepstone-fixtures"
        code = lines_of(source.body) if is_code else 0
        part.code += code
        part.tests += lines_of(source.code) - code
        comments, docs = comment_lines(source)
        part.comments += comments
        part.docs += docs
        counts.functions += [(f.lines, f.parameters, f"{name} {f.name}") for f in functions(source.code)]
        counts.structs += [(fields, f"{name} {struct}") for struct, fields in struct_fields(source.code)]
    for crate in circles.crates(checkout):
        counts.circles += [(crate.folder.parent.name, len(circle)) for circle in crate.circles()]
    counts.unused = unused_public_items(sources)
    return counts


def unused_public_items(sources: dict[str, rust_source.Source]) -> list[str]:
    """Public items of libraries whose name stands in no other crate and in no test, bench or example.

    By name only: an item whose name is used for something else is not found, and a type that others use only through a
    function's result is found though it must be public. Read the list, do not fail on it.
    """
    outside: dict[str, set[str]] = {}
    for name, source in sources.items():
        place = name.split("/")[1] if name.split("/")[2] == "src" else name
        for word in set(re.findall(r"\w+", source.code)):
            outside.setdefault(word, set()).add(place)
    found = []
    for name, source in sources.items():
        _, crate, folder, *_ = name.split("/")
        if folder == "src" and crate != "stepstone":
            found += [f"{name} {item}" for item in PUBLIC.findall(source.body) if outside[item] == {crate}]
    return found


def percentile(values: list[int], share: float) -> int:
    """The smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(0, -(-int(share * 100) * len(values) // 100) - 1)]


def rows(counts: Counts) -> list[tuple[str, str]]:
    """Name and value of each line of the table."""
    sizes, lengths = [lines for lines, _ in counts.files], [lines for lines, _, _ in counts.functions]
    parameters, fields = max((p, w) for _, p, w in counts.functions), max(counts.structs)
    code = sum(part.code for part in counts.parts.values())
    tests = sum(part.tests for part in counts.parts.values())
    per_hundred = lambda name: 100 * sum(getattr(part, name) for part in counts.parts.values()) / (code + tests)
    listed = ", ".join(f"{crate.removeprefix('stepstone-')} {size}" for crate, size in counts.circles)
    table = [
        ("Rust files", f"{len(sizes)}"),
        ("lines", f"{sum(sizes)}"),
        ("median file", f"{statistics.median(sizes):.0f} lines"),
        ("largest file", "{} lines ({})".format(*max(counts.files))),
        ("functions", f"{len(lengths)}"),
        ("median function", f"{statistics.median(lengths):.0f} lines"),
        ("90th percentile", f"{percentile(lengths, 0.9)} lines"),
        ("functions over 50 lines", f"{sum(length > 50 for length in lengths)}"),
        ("functions over 70 lines", f"{sum(length > 70 for length in lengths)}"),
        ("most parameters", f"{parameters[0]} ({parameters[1].split('/')[-1]})"),
        ("functions over 7 parameters", f"{sum(p > 7 for _, p, _ in counts.functions)}"),
        ("most struct fields", f"{fields[0]} ({fields[1].split('/')[-1]})"),
        ("structs over 12 fields", f"{sum(n > 12 for n, _ in counts.structs)}"),
        ("circles of files", f"{len(counts.circles)}" + (f" ({listed})" if listed else "")),
        ("comment lines per hundred lines of code and tests", f"{per_hundred('comments'):.1f}"),
        ("documentation lines per hundred", f"{per_hundred('docs'):.1f}"),
        ("public items named only in their own crate's sources", f"{len(counts.unused)}"),
        ("test lines per line of code", f"{tests / code:.2f}"),
    ]
    for crate, part in sorted(counts.parts.items()):
        ratio = f"{part.tests / part.code:.2f}" if part.code else "-"
        table.append((f"- {crate}", f"{ratio} ({part.tests} : {part.code})"))
    return table


def unpacked(revision: str, folder: Path) -> Path:
    """The tree of a revision of the repository that this script lies in, below `folder`."""
    repository = Path(__file__).parents[1]
    archive = subprocess.run(["git", "archive", revision], cwd=repository, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--at", metavar="REVISION", action="append", default=[], help="a column for this revision; repeatable")
    parser.add_argument("--list", choices=["functions", "parameters", "fields", "unused"], help="name what a line counts")
    arguments = parser.parse_args()
    columns = []
    for revision in arguments.at:
        with tempfile.TemporaryDirectory() as folder:
            columns.append((revision, count(unpacked(revision, Path(folder)))))
    if not columns:
        columns = [("now", count(arguments.checkout))]
    if arguments.list:
        print_list(arguments.list, columns[-1][1])
        return
    tables = [dict(rows(counts)) for _, counts in columns]
    names = list(dict.fromkeys(name for table in reversed(tables) for name in table))
    print("| | " + " | ".join(title for title, _ in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in names:
        print(f"| {name} | " + " | ".join(table.get(name, "") for table in tables) + " |")


def print_list(which: str, counts: Counts) -> None:
    lists = {
        "functions": sorted(((lines, where) for lines, _, where in counts.functions if lines > 50), reverse=True),
        "parameters": sorted(((n, where) for _, n, where in counts.functions if n > 7), reverse=True),
        "fields": sorted(((n, where) for n, where in counts.structs if n > 12), reverse=True),
        "unused": [("", item) for item in counts.unused],
    }
    for number, where in lists[which]:
        print(number, where)


if __name__ == "__main__":
    main()
