"""Cuts the power at every system call of a run, in thought: afterwards the run must be whole or not done.

    python tools/power_loss.py target/release/stepstone

Traces `stepstone train` with strace on a made-up task, once in a new folder and once over a damaged run, and replays the
calls on a model of the disk. What was not synced may be lost: bytes until the fsync of their file, names until the fsync
of their folder. What was not synced may as well have reached the disk. Whenever scores.json may be there, every file that
it lists must be there in both cases, as it was when the scores were written. A file may be renamed only after its fsync.
Exit status 1 if a cut leaves anything else. Needs Linux and strace, no data and no download.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ENCODER = Path(__file__).resolve().parent.parent / "crates/stepstone-fixtures/encoders/bert"
CALLS = (
    "openat,creat,mkdir,mkdirat,write,pwrite64,writev,copy_file_range,sendfile,ftruncate,fallocate,"
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,fsync,fdatasync"
)
WRITES = {"write", "pwrite64", "writev", "ftruncate", "fallocate", "copy_file_range", "sendfile"}


class Node:
    """A file with a number of changes, or a folder with names; and both as they are surely on the disk."""

    def __init__(self, folder):
        self.names = {} if folder else None
        self.changes = 0
        self.sync()

    def sync(self):
        self.synced = self.changes if self.names is None else dict(self.names)


class Disk:
    """The folder of one run and what lies around it, by absolute paths."""

    def __init__(self, top):
        self.top, self.root = top, self.read(top)

    def read(self, path):
        node = Node(path.is_dir())
        if path.is_dir():
            node.names = {child.name: self.read(child) for child in path.iterdir()}
            node.sync()
        return node

    def find(self, path, surely=False):
        """The node at `path` now, or only as far as it is surely on the disk."""
        node = self.root
        for part in Path(path).relative_to(self.top).parts:
            names = node and (node.synced if surely else node.names)
            node = names.get(part) if isinstance(names, dict) else None
        return node

    def holds(self, path):
        return Path(path).is_relative_to(self.top) and self.find(Path(path).parent) is not None

    def apply(self, call, paths, text):
        """Replays a call that succeeded; returns a complaint, if there is one."""
        paths = [path for path in paths if self.holds(path)]
        if not paths:
            return None
        first, last = Path(paths[0]), Path(paths[-1])
        if call in ("openat", "creat", "mkdir", "mkdirat"):
            folder, made = call.startswith("mkdir"), self.find(first)
            if made is None and (folder or "O_CREAT" in text or call == "creat"):
                self.find(first.parent).names[first.name] = Node(folder)
            elif made is not None and "O_TRUNC" in text:
                made.changes += 1
        elif call in WRITES:
            node = self.find(last if call == "copy_file_range" else first)
            if node:
                node.changes += 1
        elif call in ("fsync", "fdatasync"):
            self.find(first).sync()
        elif call in ("unlink", "unlinkat", "rmdir"):
            self.find(first.parent).names.pop(first.name, None)
        else:
            node = self.find(first.parent).names.pop(first.name)
            self.find(last.parent).names[last.name] = node
            # A temporary file may be put in place of another; only the name that stays needs all bytes.
            if node.names is None and node.changes != node.synced and last.suffix != ".tmp":
                return f"{last.name} is renamed before it is synced"
        return None


def calls(trace):
    """Name, paths and text of every call that succeeded, in the order in which they ended."""
    begun = {}
    for line in trace.read_text(errors="replace").splitlines():
        process, text = line.split(maxsplit=1)
        if text.endswith("<unfinished ...>"):
            begun[process] = text.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", text)
        if resumed:
            text = begun.pop(process) + resumed[1]
        found = re.match(r"(\w+)\((.*)\)\s+= (-?\d+)", text)
        if not found or int(found[3]) < 0:
            continue
        call, arguments = found[1], found[2]
        # Paths of descriptors stand in angle brackets, others in quotes, often after the folder that they begin in.
        quoted = [] if call in WRITES else re.findall(r'(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"', arguments)
        paths = [str(Path(start or "/") / name) for start, name in quoted] or re.findall(r"\d+<([^>]*)>", arguments)
        yield call, paths, arguments


def check(program, place, out, scenario):
    command = [str(program), "train", "--model", str(place / "model"), "--task", "sst2", "--data", str(place / "data")]
    command += ["--max-length", "8", "--max-steps", "4", "--evaluations", "2", "--threads", "1", "--resume-seconds", "0"]
    trace, disk = place.parent / "trace", Disk(place)
    # `-s 0` leaves out the bytes of writes; paths are never cut.
    strace = ["strace", "-f", "-y", "-s", "0", "-o", str(trace), "-e", f"trace={CALLS}"]
    subprocess.run([*strace, *command, "--out", str(out)], check=True, capture_output=True)
    names = list(json.loads((out / "scores.json").read_text())["files"])
    listed, complaints, cuts, states = {}, [], 0, {}
    scores = disk.find(out / "scores.json")
    if scores:
        states[scores] = {name: (disk.find(out / name), disk.find(out / name).changes) for name in names}
    for call, paths, text in calls(trace):
        complaint = disk.apply(call, paths, text)
        cuts += 1
        if complaint:
            complaints.append(f"call {cuts}: {complaint}")
        for surely in (False, True):
            scores = disk.find(out / "scores.json", surely)
            if scores is None:
                continue
            now = {name: disk.find(out / name) for name in names}
            listed = states.setdefault(scores, {name: (node, node and node.changes) for name, node in now.items()})
            for name, (node, changes) in listed.items():
                disk_node = find_within(disk, out, name)
                for found in (now[name], disk_node):
                    if found is None or found is not node or found.changes != changes or found.synced != changes:
                        complaints.append(f"call {cuts} ({call}): scores.json may stand beside another {name}")
    print(f"{scenario}: {cuts} cuts, {len(complaints)} leave a run neither whole nor undone")
    return complaints


def find_within(disk, out, name):
    """A file as it is surely on the disk, if the folder of the run is."""
    node = disk.find(out)
    for part in Path(name).parts:
        node = node.synced.get(part) if node is not None and isinstance(node.synced, dict) else None
    return node


def make_place(place):
    (place / "model").mkdir(parents=True)
    (place / "data/sst2").mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (place / "model" / file).write_bytes((ENCODER / file).read_bytes())
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bad", "good", "film"]
    (place / "model/vocab.txt").write_text("\n".join(words))
    rows = "bad film\t0\ngood film\t1\n" * 8
    for file in ("train.tsv", "dev.tsv"):
        (place / "data/sst2" / file).write_text("sentence\tlabel\n" + rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    program = parser.parse_args().program.resolve()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve() / "place"
        make_place(place)
        out = place / "run"
        complaints = check(program, place, out, "a new run")
        vocab = out / "model/vocab.txt"
        vocab.write_text(vocab.read_text() + "more\n")
        complaints += check(program, place, out, "a damaged run made again")
    print("\n".join(complaints[:20]))
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
