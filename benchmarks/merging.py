"""One day's merge at several sizes: Headwater, DuckDB, Polars, Delta Lake, and the bytes alone, in
one run.

    python -m benchmarks.merging [--sizes 1000000 10000000 30000000] [--rounds 3]
        [--root DIR] [--peers NAME ...]

Yesterday's published table (N x 64, float32) and today's fresh vectors (0.3 N, nine tenths of them
known) become the new day's: 0.8 old + 0.2 new, first sights as they are, others carried, those
unseen for 90 days dropped; durable on disk (every writer syncs). Each step runs in a process of its
own, in interleaved rounds (beyond 2 million rows, one library after the other); printed are the
median seconds, their range, the ratio to ours and the peak memory of the process.

`headwater` writes a delta and a whole index, as on seven days of eight; `headwater_compacting` is
the eighth. `bytes_only` merely reads the inputs and writes as many bytes as the whole new table;
`bytes_delta` writes only the fresh vectors, keys and days. Peers have an environment of their own
(benchmarks/peers/peers_env.sh). The largest of several sizes runs Headwater and its bytes only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
OURS = ("headwater", "headwater_compacting")
FLOORS = ("bytes_only", "bytes_delta")
PEERS = ("duckdb", "polars", "delta")


def run(name: str, root: Path, step: str, *more: str) -> dict[str, float]:
    python = (
        sys.executable if name in (*OURS, *FLOORS) else str(HERE / ".venv-peers" / "bin" / "python")
    )
    command = [python, "-m", "benchmarks.peers.measure", name, str(root), "--step", step, *more]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} {step}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000, 30_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", type=Path, default=None)
    parser.add_argument("--peers", nargs="*", default=list(PEERS))
    options = parser.parse_args()
    if options.peers:
        subprocess.run(
            ["sh", str(HERE / "benchmarks" / "peers" / "peers_env.sh")], check=True, cwd=HERE
        )
    for rows in options.sizes:
        root = Path(tempfile.mkdtemp(dir=options.root))
        largest = rows == max(options.sizes) and len(options.sizes) > 1
        names = ["headwater", "bytes_delta"] if largest else [*OURS, *options.peers, *FLOORS]
        make = [
            sys.executable,
            "-m",
            "benchmarks.peers.data",
            str(root),
            "--rows",
            str(rows),
            "--fresh",
            str(3 * rows // 10),
        ]
        subprocess.run(make, check=True, cwd=HERE)
        seconds: dict[str, list[float]] = {name: [] for name in names}
        memory: dict[str, float] = dict.fromkeys(names, 0.0)
        # interleaved where all fit on the disk beside each other; else one library after the other,
        # each in the same order of steps
        together = rows <= 2_000_000
        turns = (
            [(turn, name) for turn in range(options.rounds) for name in names]
            if together
            else [(t, n) for n in names for t in range(options.rounds)]
        )
        for turn, name in turns:
            if turn == 0:
                run(name, root, "prepare")
            found = run(
                name, root, "merge", *(("--memory-limit", "8GB") if name == "duckdb" else ())
            )
            seconds[name].append(found["seconds"])
            memory[name] = max(memory[name], found["peak_rss_mb"])
            if not together and turn == options.rounds - 1:
                shutil.rmtree(root / name)
        shutil.rmtree(root)
        ours = statistics.median(seconds["headwater"])
        print(f"\n{rows:,} x 64, {3 * rows // 10:,} fresh, median of {options.rounds} rounds")
        for name in names:
            median = statistics.median(seconds[name])
            spread = f"{min(seconds[name]):.2f} to {max(seconds[name]):.2f}"
            print(
                f"{name:22} {median:8.2f} s  ({spread})  {median / ours:6.2f} x ours "
                f" {memory[name]:8,.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
