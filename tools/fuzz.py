"""Feeds damaged inputs to every reader of the program; prints a table, and keeps each input that broke it.

    python tools/fuzz.py target/release/stepstone --inputs 10000

Each input is a valid file of the repository or of the demo, damaged one to four times: bits flipped, bytes cut out, doubled,
replaced by numbers, brackets and words that readers trip over, or mixed with another valid file. The program must end by itself
within `LIMIT` seconds, with an exit code of its table, without a panic, and within `MOST_MEMORY`. A damaged file that
is still valid is read as such: an exit code of 0 is no fault here.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "crates/stepstone-fixtures"
LIMIT = 20
MOST_MEMORY = 1 << 30
CODES = {0, 1, 64, 65, 66, 71, 73, 74, 75, 77, 78}
WORDS = [
    b"0", b"-1", b"1e999", b"NaN", b"18446744073709551615", b"9223372036854775808", b"-9223372036854775808", b"null", b"true", b"{}",
    b"[]", b'""', b"[" * 300, b'{"a":' * 300, b'"', b"'", b"\\", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xf0\x9f\x98\x80", b"\r", b"\n",
    b"\r\n", b"\t", b",", b"=", b"../", b"/", b"\xe2\x80\xae", b"\x1b]0;x\x07", b"a" * 5000, b" " * 5000, b"1" * 400, b"%n", b"\\ud800",
]  # fmt: skip


def damage(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """The bytes of a file, damaged one to four times."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice([1, 1, 2, 4, 8, 64, 1024]))
        kind = rng.randrange(8)
        if kind <= 1 and start < len(data):
            data[start] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end] * rng.choice([1, 2, 50])
        elif kind == 4:
            data[start:end] = rng.choice(WORDS)
        elif kind == 5:
            data[start:start] = rng.choice(WORDS)
        elif kind == 6:
            del data[start:]
        else:
            cut = rng.randrange(len(other) + 1)
            data[start:end] = other[cut : cut + rng.choice([4, 64, 1024])]
    return bytes(data)


@dataclass(frozen=True)
class Reader:
    """A reader: the files it reads, and the command that makes it read them. `{}` is the folder of the input."""

    name: str
    files: list[Path]  # valid files; the damaged one takes its place in the folder
    place: Callable[[Path, Path], Path]  # prepares the folder, says where the damaged file goes
    command: list[str]


def link(folder: Path, source: Path, but: str) -> Path:
    """Every file of `source` but one, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.name != but and not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    return folder / but


def encoder_readers(demo: Path, folders: list[Path]) -> list[Reader]:
    """Configurations, weights and tokenizers, read by a run of one step."""

    def train(name: str, files: list[Path]) -> Reader:
        command = ["train", "--model", "{}/encoder", "--task", "rte", "--data", str(demo / "data"), "--out", "{}/out"]
        limits = ["--max-steps", "1", "--evaluations", "1", "--max-train", "4", "--max-dev", "4", "--max-length", "16"]
        place = lambda folder, file: link(folder / "encoder", file.parent, file.name)  # noqa: E731
        return Reader(name, files, place, command + limits)

    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.is_file()]
    of = lambda *names: [file for file in files if file.name in names]  # noqa: E731
    tokenizers = [file for file in files if file.name != "config.json" and file.suffix != ".safetensors"]
    return [
        train("config.json", of("config.json")),
        train("weights", [file for file in files if file.suffix == ".safetensors"]),
        train("tokenizer files", tokenizers),
    ]


def task_readers(binary: Path) -> list[Reader]:
    """Each task's layout, read by `tasks show`."""
    readers = []
    for folder in sorted(path for path in (FIXTURES / "tasks").iterdir() if path.is_dir()):
        files = [file for file in sorted(folder.iterdir()) if file.is_file() and "train" in file.name]
        shown = subprocess.run([binary, "tasks", "show", folder.name, "--data", folder.parent], capture_output=True)
        if files and shown.returncode == 0:
            place = lambda root, file: link(root / file.parent.name, file.parent, file.name)  # noqa: E731
            readers.append(Reader(f"task {folder.name}", files, place, ["tasks", "show", folder.name, "--data", "{}"]))
    return readers


def study_readers(demo: Path) -> list[Reader]:
    """Study files, kept plans, run folders and leases, read by `status` and `report`."""
    runs = sorted((demo / "demo/runs").iterdir())

    def copy(folder: Path, file: Path) -> Path:
        shutil.copytree(demo, folder, symlinks=True, dirs_exist_ok=True)
        return folder / file.relative_to(demo)

    def lease(folder: Path, file: Path) -> Path:
        copy(folder, file)
        run = folder / file.relative_to(demo).parent
        (run / "scores.json").unlink()  # the leases of a finished run are not read
        names = ["lease.1", "lease.2", "lease.x", "lease.999999999", "lease.18446744073709551615"]
        return run / names[int(file.parent.name, 16) % len(names)]

    folders = [run / name for run in runs for name in ["run.json", "scores.json", "predictions.jsonl"]]
    return [
        Reader("study.toml", [demo / "study.toml", ROOT / "studies/tiny.toml"], lambda f, _: copy(f, demo / "study.toml"), ["status", "{}/study.toml"]),
        Reader("plan.json", [demo / "demo/plan.json"], copy, ["status", "{}/study.toml"]),
        Reader("run folders", folders, copy, ["report", "{}/study.toml"]),
        Reader("leases", [run / "run.json" for run in runs], lease, ["status", "{}/study.toml"]),
    ]  # fmt: skip


def observation_readers(demo: Path) -> list[Reader]:
    files = [demo / "demo/observations.csv"]
    return [Reader("observations.csv", files, lambda folder, _: folder / "o.csv", ["analyze", "{}/o.csv"])]


@dataclass
class Outcome:
    fault: str | None
    accepted: bool
    peak: int


def call(binary: Path, command: list[str]) -> Outcome:
    """Runs the command; what is wrong with how it ended, and its peak memory in bytes."""
    process = subprocess.Popen(
        [binary, *command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    hung = threading.Event()
    timer = threading.Timer(LIMIT, lambda: (hung.set(), process.kill()))
    timer.start()
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)  # the only call that tells the memory of this child alone
    timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * 1024
    if hung.is_set():
        return Outcome("hangs", False, peak)
    if b"panicked" in message or process.returncode not in CODES:
        return Outcome(f"exit code {process.returncode}: {message[-200:].decode(errors='replace')}", False, peak)
    if peak > MOST_MEMORY:
        return Outcome(f"takes {peak >> 20} MiB", False, peak)
    return Outcome(None, process.returncode == 0, peak)


def fuzz(binary: Path, reader: Reader, number: int, parent: Path, kept: Path) -> Outcome:
    """Feeds input `number` to a reader. The same number makes the same input."""
    rng = random.Random(f"{reader.name} {number}")
    file, other = rng.choice(reader.files), rng.choice(reader.files)
    folder = Path(tempfile.mkdtemp(dir=parent))
    target = reader.place(folder, file)
    if target.is_symlink() or target.exists():
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(damage(file.read_bytes(), other.read_bytes(), rng))
    outcome = call(binary, [word.replace("{}", str(folder)) for word in reader.command])
    if outcome.fault:
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(target, kept / f"{reader.name.replace(' ', '-')}-{number}-{target.name}")
        print(f"  {reader.name} {number}: {outcome.fault}", file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--inputs", type=int, default=100, help="inputs for each reader")
    parser.add_argument("--encoders", type=Path, nargs="*", default=[], help="folders of encoders besides the demo's")
    parser.add_argument("--only", help="readers whose names contain this")
    parser.add_argument("--kept", type=Path, default=Path("fuzz-faults"), help="folder for inputs that broke a reader")
    arguments = parser.parse_args()
    binary, faults = arguments.binary.resolve(), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as parent, ThreadPoolExecutor(os.cpu_count()) as pool:
        demo = Path(parent) / "demo"
        subprocess.run([binary, "demo", "--out", demo], check=True, capture_output=True)
        readers = encoder_readers(demo, [demo / "encoder", *arguments.encoders]) + task_readers(binary) + study_readers(demo) + observation_readers(demo)
        print("| reader | inputs | accepted | faults | peak MiB |\n|---|--:|--:|--:|--:|")
        for reader in readers:
            if arguments.only and arguments.only not in reader.name:
                continue
            run = lambda number, of=reader: fuzz(binary, of, number, Path(parent), arguments.kept)  # noqa: E731
            outcomes = list(pool.map(run, range(arguments.inputs)))
            broken = sum(outcome.fault is not None for outcome in outcomes)
            peak = max(outcome.peak for outcome in outcomes) >> 20
            accepted = sum(outcome.accepted for outcome in outcomes)
            print(f"| {reader.name} | {len(outcomes)} | {accepted} | {broken} | {peak} |", flush=True)
            faults += broken
    raise SystemExit(faults > 0)


if __name__ == "__main__":
    main()
