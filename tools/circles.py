"""Which files of one crate use each other in a circle. `python tools/circles.py [CHECKOUT]` lists them.

`crates/stepstone/tests/repository/circles.rs` holds that there are none; this script also reads older checkouts, for counts.py.
A file uses another by `use crate::...`, `super::...`, `self::...` or the name of a module it declares or imports. Declaring a
module is not a use, re-exporting from it is. An item that the crate root re-exports counts as used where it is defined.
"""

import re
import sys
from pathlib import Path

import rust_source

MODULE = re.compile(r"^[ \t]*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;", re.MULTILINE)
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])(\w+)((?:\s*::\s*\w+)+)")


def leaves(tree: str) -> list[tuple[list[str], str]]:
    """The paths of a use tree, each with the name it is known by: `a::{b, c as d}` -> ([a, b], b), ([a, c], d)."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        segments = [segment.strip() for segment in path.split("::") if segment.strip()]
        if segments and segments[-1] == "self":
            segments.pop()
        return [(segments, alias.strip() or (segments[-1] if segments else ""))]
    prefix = [segment.strip() for segment in tree[:brace].split("::") if segment.strip()]
    found, depth, start = [], 0, brace + 1
    for index in range(brace + 1, len(tree)):
        character = tree[index]
        if character == "{":
            depth += 1
        elif character == "}" and depth > 0:
            depth -= 1
        elif depth == 0 and character in ",}":
            if piece := tree[start:index].strip():
                found += [(prefix + path, alias or prefix[-1]) for path, alias in leaves(piece)]
            start = index + 1
    return found


class Crate:
    """The modules of one crate and what each uses."""

    def __init__(self, folder: Path, root: Path):
        self.folder = folder
        self.files: dict[tuple[str, ...], rust_source.Source] = {}
        self.names: dict[tuple[str, ...], dict[str, list[str]]] = {}
        self.add((), root, root.parent)

    def add(self, module: tuple[str, ...], path: Path, folder: Path) -> None:
        source = rust_source.read(path)
        self.files[module] = source
        self.names[module] = {name: path for tree in USE.findall(source.body) for path, name in leaves(tree)}
        for name in MODULE.findall(source.body):
            for child in (folder / f"{name}.rs", folder / name / "mod.rs"):
                if child.is_file():
                    self.add((*module, name), child, folder / name)

    def resolve(self, module: tuple[str, ...], path: list[str], depth: int = 0) -> tuple[str, ...] | None:
        """The module whose file defines what `path` names, seen from `module`; None for other crates."""
        if depth > 20 or not path:
            return None
        at, rest = module, list(path)
        if rest[0] == "crate":
            at, rest = (), rest[1:]
        elif rest[0] == "self":
            rest = rest[1:]
        elif rest[0] == "super":
            while rest and rest[0] == "super":
                at, rest = at[:-1], rest[1:]
        elif (*at, rest[0]) not in self.files and rest[0] not in self.names[module]:
            return None
        while rest and (*at, rest[0]) in self.files:
            at, rest = (*at, rest[0]), rest[1:]
        if not rest:
            return at
        target = self.names[at].get(rest[0])
        # Names seen through the crate root, and this module's own imports, lead on to where they are defined.
        if target and target != path and (at == () or at == module):
            return self.resolve(at, target + rest[1:], depth + 1)
        return at

    def edges(self) -> dict[tuple[str, ...], set[tuple[str, ...]]]:
        edges = {}
        for module, source in self.files.items():
            paths = list(self.names[module].values())
            for first, rest in PATH.findall(USE.sub("", source.body)):
                paths.append([first, *(part.strip() for part in rest.split("::") if part.strip())])
            used = {self.resolve(module, path) for path in paths}
            edges[module] = {other for other in used if other is not None and other != module}
        return edges

    def circles(self) -> list[list[str]]:
        """Files that reach each other, as paths below the crate's `src`; larger circles first."""
        edges = self.edges()
        reach = {module: reachable(edges, module) for module in edges}
        circles = {frozenset(m for m in edges if m in reach[module] and module in reach[m]) for module in edges}
        names = [sorted(self.name(module) for module in circle) for circle in circles if circle]
        return sorted(names, key=lambda circle: (-len(circle), circle))

    def name(self, module: tuple[str, ...]) -> str:
        return self.files[module].path.relative_to(self.folder).as_posix()


def reachable(edges: dict, start) -> set:
    found, open_ = set(), [start]
    while open_:
        for module in edges[open_.pop()]:
            if module not in found:
                found.add(module)
                open_.append(module)
    return found


def crates(checkout: Path) -> list[Crate]:
    """Every crate root of the workspace; a crate with a library and a program has two."""
    roots = [root for name in ("lib.rs", "main.rs") for root in checkout.glob(f"crates/*/src/{name}")]
    return [Crate(root.parent, root) for root in sorted(roots)]


def main() -> None:
    checkout = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1]
    for crate in crates(checkout):
        for circle in crate.circles():
            print(f"{crate.folder.parent.name}: {len(circle)} files in a circle")
            inside = {module for module in crate.files if crate.name(module) in circle}
            for module in sorted(inside):
                others = sorted(crate.name(other) for other in crate.edges()[module] & inside)
                print(f"    {crate.name(module)} -> {', '.join(others)}")


if __name__ == "__main__":
    main()
