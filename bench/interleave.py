"""Compares step servers on a machine whose speed drifts: all run at once, and each is asked in turn for one step.

Every round asks each server for a step on the same batch number, and the order rotates. What is compared is the time
per real token of one round, so a slow second strikes all servers alike; reported are the median and the quartiles of
these per-round ratios. Prints a JSON line per server, then a Markdown table.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import time

# Until then the idle threads of the previous server have stopped spinning.
PAUSE_SECONDS = 0.01


class Server:
    """A running step server (protocol: peer_step.py) and what it has answered."""

    def __init__(self, name: str, command: str):
        self.name = name
        self.process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.microseconds_per_token: list[float] = []
        self.tokens: list[int] = []

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the server ended with exit status {self.process.wait()}")
        return line

    def wait_until_ready(self) -> None:
        word, *tokens = self.answer().split()
        if word != "ready" or not tokens:
            raise SystemExit(f"{self.name}: answered `{word}`, expected `ready` and the tokens of each batch")
        self.tokens = [int(count) for count in tokens]

    def step(self, batch: int) -> None:
        self.process.stdin.write(f"{batch}\n")
        self.process.stdin.flush()
        milliseconds = float(self.answer())
        self.microseconds_per_token.append(milliseconds * 1e3 / self.tokens[batch % len(self.tokens)])

    def finish(self) -> int:
        """Ends the server; returns its peak resident MiB."""
        self.process.stdin.close()
        peak = int(self.answer().split()[1])
        self.process.wait()
        return peak


def quantile(values: list[float], fraction: float) -> float:
    """The smallest value that at least `fraction` of the values do not exceed; not interpolated."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def measure(servers: list[Server], rounds: int, seconds: float) -> None:
    """Whole rounds only, so that every server has the same ones."""
    start = time.monotonic()
    for number in range(rounds):
        if number > 0 and time.monotonic() - start > seconds:
            return
        for turn in range(len(servers)):
            time.sleep(PAUSE_SECONDS)
            servers[(number + turn) % len(servers)].step(number)


def summary(server: Server, reference: Server) -> dict:
    own = server.microseconds_per_token
    ratios = [theirs / ours for theirs, ours in zip(reference.microseconds_per_token, own)]
    tokens_per_step = statistics.mean(server.tokens)
    return {
        "name": server.name,
        "rounds": len(own),
        "ms_per_step_median": round(statistics.median(own) * tokens_per_step / 1e3, 1),
        "ms_per_step_best_decile": round(quantile(own, 0.1) * tokens_per_step / 1e3, 1),
        "tokens_per_second_median": round(1e6 / statistics.median(own)),
        "speedup": round(statistics.median(ratios), 3),
        "speedup_quartiles": [round(quantile(ratios, 0.25), 3), round(quantile(ratios, 0.75), 3)],
        "reference": reference.name,
        "rss_mib": server.finish(),
    }


def markdown(rows: list[dict]) -> str:
    lines = [
        f"| server | ms/step median / best decile | tokens/s | times {rows[0]['reference']} [quartiles] | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["speedup_quartiles"]
        lines.append(
            f"| {row['name']} | {row['ms_per_step_median']} / {row['ms_per_step_best_decile']} "
            f"| {row['tokens_per_second_median']} | {row['speedup']:.2f} [{low:.2f}-{high:.2f}] | {row['rss_mib']} |"
        )
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="+", metavar="NAME=COMMAND", help="the first is the reference")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no new round after this time")
    arguments = parser.parse_args()
    for server in arguments.servers:
        if "=" not in server:
            parser.error(f"`{server}`: expected NAME=COMMAND")
    return arguments


def main() -> None:
    arguments = parse_arguments()
    servers = [Server(*server.split("=", 1)) for server in arguments.servers]
    try:
        for server in servers:
            server.wait_until_ready()
        measure(servers, arguments.rounds, arguments.seconds)
        rows = [summary(server, servers[0]) for server in servers]
    finally:
        for server in servers:
            server.process.kill()
    for row in rows:
        print(json.dumps(row))
    print()
    print(markdown(rows))


if __name__ == "__main__":
    main()
