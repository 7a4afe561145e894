"""Attacks a small study in every way below and counts what it survives; prints the table of docs/reliability.md.

    python tools/reliability.py target/release/stepstone                      everything, small
    python tools/reliability.py target/release/stepstone --scale 10 --only kills signals

A study survives an attack if, after `stepstone run` has ended with exit code 0, every file has the bytes of an undisturbed
study, or if the command names what is wrong and exits with a code of its table. Silent damage, a panic, a hang (a command
that does not end in `LIMIT` seconds), a run marked as failed by the signal that stopped it, or a file left over does not count
as surviving. Full disks need the right to mount a tmpfs; without it that row is skipped, and says so.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

LIMIT = 300
# Times differ from run to run, and a plan names the folder that it lies in.
EXEMPT = {"log.jsonl", "timing.json", "plan.json", "study.json"}
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
STUDY = """[study]
name = "study"
model = "encoder"
data = "data"
restarts = 2
[tasks]
intermediate = ["sst2"]
target = ["rte"]
[recipe]
learning_rate = 1e-3
max_steps = 60
evaluations = 6
max_length = 32
"""


@dataclass
class Row:
    """One line of the table."""

    attack: str
    tried: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)

    def add(self, problem: str | None) -> None:
        self.tried += 1
        self.survived += problem is None
        if problem is not None:
            self.lost.append(problem)
            print(f"  {self.attack}: {problem}", file=sys.stderr)

    def take_back(self, problem: str | None) -> None:
        """The last attack counted as survived, and was not if there is a problem after all."""
        if problem is not None:
            self.tried -= 1
            self.survived -= 1
            self.add(problem)


@dataclass
class World:
    """A binary, the study's inputs, and the bytes of the undisturbed study."""

    binary: Path
    inputs: Path
    finished: Path
    reference: dict[str, bytes]

    def place(self, parent: Path) -> Path:
        """A folder with the study's inputs and no results."""
        folder = Path(tempfile.mkdtemp(dir=parent))
        for name in ["encoder", "data", "study.toml"]:
            (folder / name).symlink_to(self.inputs / name)
        # The study file must lie in the folder, for its results go beside it.
        (folder / "study.toml").unlink()
        shutil.copy(self.inputs / "study.toml", folder)
        return folder

    def done(self, parent: Path) -> Path:
        """A folder with the finished study."""
        folder = self.place(parent)
        shutil.copytree(self.finished / "study", folder / "study")
        return folder

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [self.binary, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )

    def finish(self, process: subprocess.Popen) -> tuple[int, str]:
        """Exit code and output; -1000 if it hangs."""
        try:
            output, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            kill_group(process)
            return -1000, process.communicate()[0]
        return process.returncode, output

    def call(self, folder: Path, *arguments: str) -> tuple[int, str]:
        return self.finish(self.start(folder, *arguments))

    def complete(self, folder: Path) -> str | None:
        """Runs the study to its end; what differs from the undisturbed one, if anything does."""
        code, output = self.call(folder, "run", "study.toml", "--resume-seconds", "0")
        return broken(code, output) or (f"exit code {code}: {output[-300:]}" if code else self.differs(folder))

    def differs(self, folder: Path) -> str | None:
        found = contents(folder / "study")
        for name in sorted(found.keys() | self.reference.keys()):
            if found.get(name) != self.reference.get(name):
                kind = "left over" if name not in self.reference else "missing" if name not in found else "other bytes"
                return f"{name}: {kind}"
        return None


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in EXEMPT)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def broken(code: int, output: str) -> str | None:
    """What no attack may cause, whatever else happens."""
    if code == -1000:
        return f"hangs: {output[-300:]}"
    if "panicked" in output or code in (101, 134, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
        return f"panics ({code}): {output[-300:]}"
    return None


def family(root: int) -> list[int]:
    """A process and those below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def kill_group(process: subprocess.Popen, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def failures(folder: Path) -> str | None:
    found = sorted((folder / "study/runs").glob("*/failure.json"))
    return f"marked as failed: {json.loads(found[0].read_text())['reason']}" if found else None


def kills(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """SIGKILL to the whole study or to one of its processes, again and again until the study is done."""
    row = Row("`kill -9` of all processes or of one")
    while row.tried < 10 * scale:
        folder, problem, before = world.place(parent), None, row.tried
        while problem is None and row.tried - before < 8:
            process = world.start(folder, "run", "study.toml", "--resume-seconds", "0")
            time.sleep(random.uniform(0.05, 2.0))
            if process.poll() is not None:
                process.communicate()
                break
            if random.random() < 0.5:
                kill_group(process)
            else:
                with suppress(ProcessLookupError):
                    os.kill(random.choice(family(process.pid)), signal.SIGKILL)
            row.add(None)
            code, output = world.finish(process)
            problem = broken(code, output)
        row.take_back(problem or world.complete(folder))
        shutil.rmtree(folder)
    yield row


def signals(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """One signal to the process or to its group: every run is saved, none is marked as failed."""
    for number in STOPS:
        row = Row(f"{number.name} to the process or its group")
        while row.tried < 4 * scale:
            folder, problem = world.place(parent), None
            for _ in range(6):
                process = world.start(folder, "run", "study.toml", "--resume-seconds", "0")
                time.sleep(random.uniform(0.1, 2.0))
                if process.poll() is not None:
                    process.communicate()
                    break
                if random.random() < 0.5:
                    kill_group(process, number)
                else:
                    process.send_signal(number)
                code, output = world.finish(process)
                problem = broken(code, output) or failures(folder)
                # A signal in the first milliseconds ends the process before it has started anything.
                if problem is None and code not in (0, 75, -number):
                    problem = f"exit code {code}: {output[-300:]}"
                row.add(problem)
                if problem:
                    break
            if problem is None:
                row.take_back(world.complete(folder))
            shutil.rmtree(folder)
        yield row


def flip(path: Path, other: Path) -> None:
    del other
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def cut(path: Path, other: Path) -> None:
    del other
    os.truncate(path, random.randrange(path.stat().st_size))


def swap(path: Path, other: Path) -> None:
    shutil.copy(other, path)


def foreign(path: Path, other: Path) -> None:
    del other
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + random.randbytes(200))


def missing(path: Path, other: Path) -> None:
    del other
    path.unlink()


def folder_instead(path: Path, other: Path) -> None:
    del other
    path.unlink()
    path.mkdir()


def fifo(path: Path, other: Path) -> None:
    del other
    path.unlink()
    os.mkfifo(path)


def newer(path: Path, other: Path) -> None:
    del other
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"format": 99}))


DAMAGES: list[Callable[[Path, Path], None]] = [flip, cut, swap, foreign, missing, folder_instead, fifo]


def damaged_files(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """One file of a finished run is damaged: `status --verify` names it, and `run` makes it again or names it."""
    runs = sorted((world.finished / "study/runs").iterdir())
    models = [run for run in runs if (run / "model").is_dir()]
    names = ["run.json", "scores.json", "predictions.jsonl", "model/model.safetensors", "model/config.json", "model/vocab.txt"]
    for name in names:
        row = Row(f"a damaged {name}")
        choices = DAMAGES + ([newer] if name in ("run.json", "scores.json") else [])
        for _ in range(4 * scale):
            folder, damage = world.done(parent), random.choice(choices)
            run, other = random.sample(models if "/" in name else runs, 2)
            path = folder / "study/runs" / run.name / name
            before = path.read_bytes()
            damage(path, world.finished / "study/runs" / other.name / name)
            problem = None
            if path.is_file() and path.read_bytes() == before:
                shutil.rmtree(folder)
                continue  # two runs may share a file, such as the vocabulary
            code, output = world.call(folder, "status", "--verify", "study.toml")
            problem = broken(code, output)
            if problem is None and (code == 0 or run.name not in output):
                problem = f"{damage.__name__}: status --verify exits with {code} and does not name the run"
            if problem is None:
                code, output = world.call(folder, "run", "study.toml")
                problem = broken(code, output)
                silent = world.differs(folder) if code == 0 else None
                if problem is None and silent:
                    problem = f"{damage.__name__}: exit code 0, but {silent}"
                if problem is None and code != 0 and run.name not in output:
                    problem = f"{damage.__name__}: exit code {code} without the name of the run: {output[-300:]}"
            row.add(problem)
            shutil.rmtree(folder, ignore_errors=True)
        yield row


def damaged_resume_points(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """A resume point is damaged between two sessions: the run starts over or goes on, with the same bytes."""
    row = Row("a damaged resume point")
    while row.tried < 5 * scale:
        folder = world.place(parent)
        process = world.start(folder, "run", "study.toml", "--resume-seconds", "0")
        time.sleep(random.uniform(0.3, 1.5))
        kill_group(process)
        world.finish(process)
        points = [path for path in (folder / "study").rglob("resume/*") if path.is_file() and path.stat().st_size > 0]
        if points:
            path, damage = random.choice(points), random.choice([flip, flip, flip, cut, foreign, missing])
            damage(path, path)
            problem = world.complete(folder)
            row.add(problem and f"{damage.__name__} of {path.name}: {problem}")
        shutil.rmtree(folder)
    yield row


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True)
    try:
        yield mounted.returncode == 0
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True)


def full_disks(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """A disk of a size at which some write fails: the command says so, and a larger disk lets it finish."""
    row = Row("a full disk")
    total = sum(map(len, world.reference.values())) // 1024
    for _ in range(3 * scale):
        folder, disk = world.place(parent), parent / "disk"
        with small_disk(disk, random.randint(8, 2 * total)) as mounted:
            if not mounted:
                row.attack += " (skipped: no right to mount a tmpfs)"
                break
            (folder / "study").symlink_to(disk)
            code, output = world.call(folder, "run", "study.toml", "--resume-seconds", "0")
            problem = broken(code, output)
            if problem is None and code not in (0, 1, 73, 74):
                problem = f"exit code {code}: {output[-300:]}"
            if problem is None and code != 0 and "space" not in output:
                problem = f"exit code {code} without the reason: {output[-300:]}"
            subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
            row.add(problem or world.complete(folder))
        disk.rmdir()
        shutil.rmtree(folder)
    yield row


def chaos(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """Workers are stopped, continued, killed and started at random; a stopped one wakes up after it has lost its lease."""
    row = Row("stop, continue and kill among 16 workers")
    while row.tried < 50 * scale:
        folder = world.place(parent)
        flags = ["--threads", "1", "--resume-seconds", "0", "--lease-seconds", "2"]
        start = lambda: world.start(folder, "worker", "study.toml", *flags)  # noqa: E731
        workers, problem = [start() for _ in range(16)], None
        for _ in range(50):
            time.sleep(random.uniform(0, 0.3))
            number, victim = random.choice(["STOP", "STOP", "CONT", "KILL"]), random.randrange(16)
            processes = family(workers[victim].pid)
            with suppress(ProcessLookupError):
                os.kill(random.choice(processes), getattr(signal, f"SIG{number}"))
            row.add(None)
            if workers[victim].poll() is not None:
                code, output = world.finish(workers[victim])
                problem = problem or broken(code, output)
                workers[victim] = start()
        for worker in workers:
            kill_group(worker, signal.SIGCONT)
        for worker in workers:
            code, output = world.finish(worker)
            problem = problem or broken(code, output)
        row.take_back(problem or failures(folder) or world.complete(folder))
        shutil.rmtree(folder)
    yield row


def reports(world: World, parent: Path, scale: int) -> Iterator[Row]:
    """Many reports of one study at once: all succeed, and the files are whole."""
    row = Row("reports at once, 20 at a time")
    folder = world.done(parent)
    for _ in range(max(1, scale // 2)):
        for process in [world.start(folder, "report", "study.toml") for _ in range(20)]:
            code, output = world.finish(process)
            row.add(broken(code, output) or (f"exit code {code}: {output[-300:]}" if code else None))
        row.take_back(world.differs(folder))
    shutil.rmtree(folder)
    yield row


ATTACKS = {
    "kills": kills,
    "signals": signals,
    "files": damaged_files,
    "resume": damaged_resume_points,
    "disks": full_disks,
    "chaos": chaos,
    "reports": reports,
}


def prepare(binary: Path, parent: Path) -> World:
    inputs, first = parent / "inputs", parent / "demo"
    subprocess.run([binary, "demo", "--out", first], check=True, capture_output=True)
    inputs.mkdir()
    for name in ["encoder", "data"]:
        shutil.move(first / name, inputs / name)
    (inputs / "study.toml").write_text(STUDY)
    world = World(binary, inputs, inputs, {})
    world.finished = world.place(parent)
    code, output = world.call(world.finished, "run", "study.toml")
    if code:
        raise SystemExit(f"the undisturbed study ends with {code}: {output}")
    world.reference = contents(world.finished / "study")
    return world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", type=Path)
    parser.add_argument("--scale", type=int, default=1, help="how many times the small numbers of attacks")
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="reliability-") as parent:
        world = prepare(arguments.binary.resolve(), Path(parent))
        print("| attack | tried | survived |\n|---|--:|--:|")
        for name in arguments.only:
            for row in ATTACKS[name](world, Path(parent), arguments.scale):
                print(f"| {row.attack} | {row.tried} | {row.survived} |", flush=True)
                rows.append(row)
    raise SystemExit(any(row.lost for row in rows))


if __name__ == "__main__":
    main()
