"""Makes one mistake at a time in the code and sees which unit test notices it; prints a Markdown table.

    python tools/mutations.py                all of mutation_list.py
    python tools/mutations.py --only 3 17    some, by their numbers

The code of a revision is checked out in target/mutations, so that the working tree stays as it is. There all mutations are
compiled in at once, each behind a switch that the environment sets at the start of a test: one build of a crate serves all of
its mutations ("mutant schemata", Untch, Offutt and Harrold 1993). All tests must pass with every switch off. Each mutation is
then put to the unit tests of its own crate. It is killed if one fails, or if they do not end.
"""

import argparse
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mutation_list import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "target/mutations"
FAILED = re.compile(r"^test (\S+) .*FAILED$", re.MULTILINE)
# Many small parts, little optimised: they compile in a fraction of the time, and floating point means the same.
QUICK = {"opt-level": 1, "codegen-units": 64, "debug": "false"}
SWITCH = """
pub(crate) fn mutant(number: u32) -> bool {
    static MUTANT: std::sync::LazyLock<u32> =
        std::sync::LazyLock::new(|| std::env::var("MUTANT").map_or(0, |number| number.parse().unwrap()));
    *MUTANT == number
}
"""
ENVIRONMENT = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target"), "INSTA_UPDATE": "no", "PROPTEST_RNG_SEED": "1"}


def check_out(revision: str) -> None:
    if not TREE.exists():
        subprocess.run(["git", "worktree", "add", "--detach", TREE, revision], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["git", "checkout", "--force", "--detach", revision], cwd=TREE, check=True, capture_output=True)


def switched(number: int, mutation: Mutation) -> str:
    """What stands in the place of `before`."""
    switch = f"crate::mutant({number})"
    if "MUTANT" in mutation.after:
        return mutation.after.replace("MUTANT", switch)
    choice = f"if {switch} {{ {mutation.after} }} else {{ {mutation.before} }}"
    return choice if mutation.before.endswith(";") else f"({choice})"


def plant(mutations: Iterable[tuple[int, Mutation]]) -> None:
    for number, mutation in mutations:
        path = TREE / "crates" / mutation.crate / "src" / mutation.file
        text = path.read_text()
        if (count := text.count(mutation.before)) != 1:
            raise SystemExit(f"{path}: `{mutation.before}` stands {count} times, expected once")
        path.write_text(text.replace(mutation.before, switched(number, mutation)))
    for crate in {mutation.crate for _, mutation in mutations}:
        path = TREE / "crates" / crate / "src/lib.rs"
        path.write_text(path.read_text() + SWITCH)


def build(crate: str) -> str:
    """The program of a crate's unit tests."""
    ours = [path.name for path in (TREE / "crates").iterdir()]
    profile = [f"--config=profile.release.package.{name}.{key}={value}" for name in ours for key, value in QUICK.items()]
    command = ["cargo", "test", "--release", "--lib", "--no-run", "--message-format=json-render-diagnostics", "-p", crate]
    done = subprocess.run([*command, *profile], cwd=TREE, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit("a mutation does not compile: see above")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(message["executable"] for message in messages if message.get("executable"))



def test(program: str, crate: str, number: int, seconds: float) -> list[str]:
    """The tests that fail while mutation `number` is switched on; 0 switches all off."""
    environment = ENVIRONMENT | {"MUTANT": str(number), "CARGO_MANIFEST_DIR": str(TREE / "crates" / crate)}
    with subprocess.Popen(
        [program], cwd=TREE / "crates" / crate, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return ["no end within the time"]
    if process.returncode == 0:
        return []
    return sorted(set(FAILED.findall(output))) or [f"the test program ended with {process.returncode}"]


def row(number: int, mutation: Mutation, tests: list[str]) -> str:
    by = ", ".join(f"`{test}`" for test in tests[:2]) + (f" and {len(tests) - 2} more" if len(tests) > 2 else "")
    file = f"{mutation.crate.removeprefix('stepstone-')}/{mutation.file}"
    return f"| {number} | {mutation.area} | `{file}` | {mutation.what} | {by or '**survives**'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the table")
    parser.add_argument("--seconds", type=float, default=600, help="tests that take longer count as hanging")
    parser.add_argument("--revision", default="HEAD", help="what is mutated")
    options = parser.parse_args()
    revision = subprocess.check_output(["git", "rev-parse", options.revision], cwd=ROOT, text=True).strip()
    mutations = [(n, mutation) for n, mutation in enumerate(MUTATIONS, 1) if n in (options.only or [n])]
    crates = list(dict.fromkeys(mutation.crate for _, mutation in mutations))
    check_out(revision)
    plant(mutations)
    print("| | area | file | what was changed | killed by |\n|--:|---|---|---|---|")
    killed = 0
    for crate in crates:
        program = build(crate)
        if failed := test(program, crate, 0, 10 * options.seconds):
            raise SystemExit(f"{crate} fails without a mutation: {', '.join(failed)}")
        for number, mutation in mutations:
            if mutation.crate == crate:
                tests = test(program, crate, number, options.seconds)
                killed += bool(tests)
                print(row(number, mutation, tests), flush=True)
    print(f"\n{killed} of {len(mutations)} killed, revision {revision[:7]}.")


if __name__ == "__main__":
    main()
