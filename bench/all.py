"""Runs every benchmark of the engine in turns with its peers; writes docs/benchmarks.md.

    python3 bench/all.py                     # everything, about a quarter of an hour on two quiet cores
    python3 bench/all.py --share 0.1 S       # a trial: a tenth of the rounds, one encoder, to standard output

Makes a virtual environment in bench/.venv unless --python names an interpreter that has tools/requirements.txt. Method and
protocol: bench/README.md.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from interleave import PAUSE_SECONDS, Server, measure, quantile

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
ROUNDS = {"S": 30, "M": 20, "B": 10}
KEEP_PAGES = "env MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=67108864"
OURS, OURS_AVX2 = "stepstone", "stepstone, AVX2 alone"
DYNAMIC, TUNED, BF16 = "transformers, f32, dynamic padding", "PyTorch tuned, f32", "PyTorch tuned, bf16"


def new_environment() -> str:
    """The interpreter of bench/.venv, which is made if it is missing."""
    folder = ROOT / "bench" / ".venv"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", ROOT / "tools" / "requirements.txt"], check=True)
    return str(python)


def build(native: bool) -> str:
    """The program, portable or for this very processor."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    environment = dict(os.environ)
    if native:
        target = target / "native"
        environment["RUSTFLAGS"] = "-C target-cpu=native"
    environment["CARGO_TARGET_DIR"] = str(target)
    subprocess.run(["cargo", "build", "--release", "--bin", "stepstone"], cwd=ROOT, env=environment, check=True)
    return str(target / "release" / "stepstone")


def in_turns(commands: dict[str, str], rounds: int) -> tuple[dict[str, Server], dict[str, int]]:
    """Runs that many rounds; returns all servers and the peak resident MiB of each."""
    servers = {name: Server(name, command) for name, command in commands.items()}
    try:
        for server in servers.values():
            server.wait_until_ready()
        measure(list(servers.values()), rounds, float("inf"))
        return servers, {name: server.finish() for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.process.kill()


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} [{quantile(ratios, 0.25):.2f}-{quantile(ratios, 0.75):.2f}]"


def ratios(of: Server, over: Server) -> list[float]:
    """Per round, how many times longer a token takes in `of` than in `over`."""
    return [x / y for x, y in zip(of.microseconds_per_token, over.microseconds_per_token)]


def milliseconds(server: Server) -> str:
    per_step = [value * statistics.mean(server.tokens) / 1e3 for value in server.microseconds_per_token]
    return f"{statistics.median(per_step):.0f} / {quantile(per_step, 0.1):.0f}"


def against_peers(program: str, python: str, shape: str, rounds: int, inference: bool) -> list[str]:
    work = "inference" if inference else "training"
    peer = f"{python} {ROOT}/bench/peer_step.py {shape}"
    flag = " --inference" if inference else ""
    ours = f"{program} bench {shape} --threads 2 --serve {work}"
    commands = {
        OURS: ours,
        **({OURS_AVX2: f"{ours} --lanes 8"} if platform.machine() == "x86_64" else {}),
        DYNAMIC: f"{peer} dyn{flag}",
        TUNED: f"{KEEP_PAGES} {peer} grouped{flag}",
        BF16: f"{KEEP_PAGES} {peer} bf16{flag}",
    }
    servers, peaks = in_turns(commands, rounds)
    rows = []
    for name, server in servers.items():
        ratio = "1" if name == OURS else spread(ratios(server, servers[OURS]))
        memory = f"{peaks[OURS] / peaks[name]:.2f}"
        rows.append(f"| {shape} | {name} | {rounds} | {milliseconds(server)} | {ratio} | {peaks[name]} | {memory} |")
    return rows


def two_at_once(program: str, shape: str, rounds: int) -> str:
    """Ratio of the time of two consecutive steps on two threads to that of two parallel steps on one thread each."""
    command = f"{program} bench {shape} --serve training --threads"
    wide, *narrow = servers = [Server(count, f"{command} {count}") for count in "211"]
    try:
        for server in servers:
            server.wait_until_ready()
        found = []
        for number in range(0, 2 * rounds, 2):
            time.sleep(PAUSE_SECONDS)
            start = time.perf_counter()
            wide.step(number)
            wide.step(number + 1)
            middle = time.perf_counter()
            for offset, server in enumerate(narrow):
                server.process.stdin.write(f"{number + offset}\n")
                server.process.stdin.flush()
            for server in narrow:
                server.answer()
            found.append((middle - start) / (time.perf_counter() - middle))
        return f"| {shape} | {rounds} | {spread(found)} |"
    finally:
        for server in servers:
            server.process.kill()


def portable_against_native(portable: str, native: str, shape: str, rounds: int) -> str:
    serve = f"bench {shape} --threads 2 --serve training"
    servers, _ = in_turns({"portable": f"{portable} {serve}", "native": f"{native} {serve}"}, rounds)
    return f"| {shape} | {rounds} | {spread(ratios(servers['portable'], servers['native']))} |"


def machine() -> str:
    facts = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    vectors = "AVX-512" if "avx512f" in facts.get("flags", "").split() else "no AVX-512"
    model = f"{facts.get('model name')} (family {facts.get('cpu family')}, model {facts.get('model')}, {vectors})"
    return f"{os.cpu_count()} cores of an {model}, {platform.system()}, load {os.getloadavg()[0]:.1f} at the start"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", default=list(ROUNDS), help="S, M, B; all by default")
    parser.add_argument("--share", type=float, default=1.0, help="share of the rounds; below 1, print the page instead of writing it")
    parser.add_argument("--python", help="interpreter with tools/requirements.txt")
    arguments = parser.parse_args()
    for shape in arguments.shapes:
        if shape not in ROUNDS:
            parser.error(f"`{shape}`: expected S, M or B")
    rounds = {shape: max(2, round(arguments.share * ROUNDS[shape])) for shape in arguments.shapes}
    python = arguments.python or new_environment()
    program, native = build(native=False), build(native=True)
    where = machine()
    head = "| encoder | server | rounds | ms a step, median / best decile | times stepstone [quartiles] | peak MiB | stepstone's share of it |"
    rule = "|---|---|---:|---:|---:|---:|---:|"
    training = [row for shape in rounds for row in against_peers(program, python, shape, rounds[shape], False)]
    inference = [row for shape in rounds for row in against_peers(program, python, shape, rounds[shape], True)]
    small = [shape for shape in rounds if shape != "B"]
    pairs = [two_at_once(program, shape, rounds[shape]) for shape in small]
    builds = [portable_against_native(program, native, shape, rounds[shape]) for shape in small]
    page = "\n".join([
        "# Benchmarks of the engine",
        "",
        f"Written by `python3 bench/all.py` on {datetime.date.today():%-d %B %Y}; {where}. Work, servers and method:",
        "[bench/README.md](../bench/README.md). Ratios are medians of per-round ratios of the time per real token, with quartiles;",
        "milliseconds are those of this machine in that hour, two threads unless said otherwise.",
        "",
        "## A training step",
        "",
        head,
        rule,
        *training,
        "",
        "## Inference",
        "",
        "Logits of the same batches, without dropout and gradients. PyTorch's peak memory includes the library itself.",
        "",
        head,
        rule,
        *inference,
        "",
        "## Two runs of one thread at once, beside two runs of two threads one after the other",
        "",
        "| encoder | rounds | times as fast at once [quartiles] |",
        "|---|---:|---:|",
        *pairs,
        "",
        "## The portable build beside one with `target-cpu=native`",
        "",
        "| encoder | rounds | time of the portable build / native [quartiles] |",
        "|---|---:|---:|",
        *builds,
        "",
    ])
    if arguments.share < 1 or set(arguments.shapes) != set(ROUNDS):
        print(page)
    else:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
