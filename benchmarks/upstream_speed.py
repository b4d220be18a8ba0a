"""One epoch of DCNv2 over a million rows from raw Parquet: Headwater, five libraries, and a
hand-written loop over tensors in memory, in one run.

    python -m benchmarks.upstream_speed [--rows 1000000] [--only NAME ...]
        [--minutes 11] [--json FILE]

Data: 20 categorical fields (10 to 200,000 values, Zipf), 10 numbers, a click from a planted model;
nine tenths train, the last tenth tests. Model of all: three full-rank cross layers beside an MLP
256-128, embeddings of 16, batches of 4,096, two threads. Every contender runs in a process of its
own, peers in their own environments (benchmarks/upstream_peers/environments.py); their segments of
24 batches alternate, so that a busy machine slows all alike. Printed: the median of a segment's
rows/s, CPU seconds a million rows, the median over rounds of our speed against theirs (and of CPU
seconds), the seconds from raw Parquet until the first batch reaches the model, the process's peak
memory and the test ROC-AUC. Threads wait without spinning, for all.

`ours` encodes the log while it trains, in the same segments; `ours-kept` finds it encoded, as the
others do theirs. RecBole and FuxiCTR embed numbers too, so that their cross layers are 480 wide,
those of the others 330 to 340. What follows a dash is a variant: see its driver.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from benchmarks.upstream_peers.data import LABEL, make
from benchmarks.upstream_peers.environments import HOME, NotInstalled, interpreter
from benchmarks.upstream_peers.pace import THREADS

HERE = Path(__file__).resolve().parent.parent
CONTENDERS = (
    "ours",
    "ours-kept",
    "bare",
    "deepctr",
    "rechub",
    "torchrec",
    "torchrec-bfloat16",
    "recbole",
    "fuxictr",
    "ours-float32",
    "bare-dense",
)
LIBRARIES = ("deepctr", "rechub", "recbole", "fuxictr")
OWN = ("ours", "bare")


class Contender:
    """A driver's process. An answer later than `PATIENCE_S`, or none, takes it out of the race, and
    says why.
    """

    PATIENCE_S = 300

    def __init__(self, name: str, data: Path, scratch: Path) -> None:
        self.name, self.failure = name, ""
        self.first_batch_s = self.peak_mb = self.auc = float("nan")
        self.segments: dict[int, tuple[float, float]] = {}  # round -> rows/s, CPU s a row
        self.running = True
        self._predictions, self._log = scratch / f"{name}.npy", scratch / f"{name}.log"
        driver, _, variant = name.partition("-")
        try:
            python = Path(sys.executable) if driver in OWN else interpreter(driver)
        except NotInstalled as reason:
            self.failure, self.running = f"not installed: {reason}", False
            return
        threads = {
            "OMP_NUM_THREADS": str(THREADS),
            "MKL_NUM_THREADS": str(THREADS),
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        self._process = subprocess.Popen(
            [
                python,
                "-m",
                f"benchmarks.upstream_peers.{driver}",
                data,
                self._predictions,
                *([variant] if variant else []),
            ],
            cwd=HERE,
            text=True,
            env=os.environ | threads | {"PYTHONPATH": str(HERE / "src"), "TMPDIR": str(scratch)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log.open("w"),
        )

    def hear(self) -> dict[str, Any] | None:
        """The next event, or None where the driver ended or fell silent."""
        assert self._process.stdout is not None
        while select.select([self._process.stdout], [], [], self.PATIENCE_S)[0] and (
            line := self._process.stdout.readline()
        ):
            if line.startswith("{"):  # some libraries print while they are imported
                return dict(json.loads(line))
        lines = self._log.read_text().strip().splitlines()
        self.failure = "failed: " + (
            lines[-1][:160]
            if self._process.poll() is not None and lines
            else f"silent for {self.PATIENCE_S} s"
        )
        self.stop()
        return None

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def load(self) -> None:
        if self.running and (event := self.hear()):
            self.first_batch_s = event["seconds"]

    def race(self, turn: int, labels: np.ndarray) -> None:
        """One segment; after the last, the test."""
        self.go()
        event = self.hear()
        if event is None:
            return
        if event["event"] == "segment":
            self.segments[turn] = event["rows"] / event["seconds"], event["cpu"] / event["rows"]
            return
        self.peak_mb = event["peak_mb"]
        self.go()
        if self.hear():
            self.auc = float(roc_auc_score(labels, np.load(self._predictions)))
            self.go()
            self._process.wait(60)
        self.running = False

    def peak_so_far_mb(self) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return (
            int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
            / 1024
        )

    def stop(self) -> None:
        """Interrupted first, so that it can end what it started itself."""
        self.running = False
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()


def table(contenders: list[Contender]) -> list[dict[str, Any]]:
    ours = next((c for c in contenders if c.name == "ours"), None)
    rows = []
    for c in contenders:
        rounds = sorted(c.segments)[1:]  # the first warms up
        row: dict[str, Any] = {"name": c.name, "failure": c.failure}
        if rounds and not c.failure:
            row |= {
                "rows_s": statistics.median(c.segments[t][0] for t in rounds),
                "cpu_s": 1e6 * statistics.median(c.segments[t][1] for t in rounds),
                "first_batch_s": c.first_batch_s,
                "peak_mb": c.peak_mb,
                "auc": c.auc,
            }
            shared = [t for t in rounds if ours is not None and t in ours.segments]
            if ours is not None and shared:
                row["times"] = statistics.median(
                    ours.segments[t][0] / c.segments[t][0] for t in shared
                )
                row["cpu_times"] = statistics.median(
                    c.segments[t][1] / ours.segments[t][1] for t in shared
                )
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    print(
        f"{'':18} {'rows/s':>8} {'CPU s/1M':>9} {'we are':>8} {'in CPU':>7} {'first batch s':>14}"
        f" {'peak MB':>8} {'AUC':>7}"
    )
    for row in rows:
        if "rows_s" not in row:
            print(f"{row['name']:18} {row['failure'] or 'no segment was whole'}")
            continue
        ratios = (
            f"{row['times']:7.2f}x {row['cpu_times']:6.2f}x" if "times" in row else f"{'':8} {'':7}"
        )
        print(
            f"{row['name']:18} {row['rows_s']:8,.0f} {row['cpu_s']:9.1f} {ratios}"
            f" {row['first_batch_s']:14.2f} {row['peak_mb']:8,.0f} "
            + (f"{row['auc']:7.4f}" if not np.isnan(row["auc"]) else "  stopped")
        )


def judge(rows: list[dict[str, Any]]) -> list[str]:
    """Each target with its figure, hit or missed."""
    by = {row["name"]: row for row in rows if "times" in row}
    if "ours" not in by or len(by) < 2:
        return []
    ours, others = by["ours"], [row for name, row in by.items() if not name.startswith("ours")]
    peers = [row for row in others if not row["name"].startswith("bare")]
    verdicts = []

    def say(what: str, figure: str, hit: bool) -> None:
        verdicts.append(f"{'hit   ' if hit else 'MISSED'} {what}: {figure}")

    if libraries := [by[name] for name in LIBRARIES if name in by]:
        worst = min(libraries, key=lambda row: row["times"])
        say(
            "at least 1.7 times the fastest model library",
            f"{worst['times']:.2f} ({worst['name']}; in CPU {worst['cpu_times']:.2f})",
            worst["times"] >= 1.7,
        )
    for name in ("torchrec", "torchrec-bfloat16"):
        if name in by:
            say(
                f"ahead of {name} with fused tables",
                f"{by[name]['times']:.2f} (in CPU {by[name]['cpu_times']:.2f})",
                by[name]["times"] > 1,
            )
    bare = [row for row in others if row["name"].startswith("bare")]
    if bare:
        best = min(bare, key=lambda row: row["times"])
        say(
            "at least 0.9 of the bare loop",
            f"{best['times']:.2f} ({best['name']}; in CPU {best['cpu_times']:.2f})",
            best["times"] >= 0.9,
        )
    if peers:
        first, lean = (
            min(peers, key=lambda row: row["first_batch_s"]),
            min(peers, key=lambda row: row["peak_mb"]),
        )
        say(
            "first batch before any peer's",
            f"{ours['first_batch_s']:.2f} s against {first['first_batch_s']:.2f} ({first['name']})",
            ours["first_batch_s"] < first["first_batch_s"],
        )
        say(
            "leaner than any peer",
            f"{ours['peak_mb']:,.0f} MB against {lean['peak_mb']:,.0f} ({lean['name']})",
            ours["peak_mb"] < lean["peak_mb"],
        )
    for whom, of_whom in (("library", peers), ("bare loop", bare)):
        through = [row for row in of_whom if not np.isnan(row["auc"])]
        if np.isnan(ours["auc"]) or not through:
            verdicts.append(
                f"open   AUC beside the best {whom}: too few were through in time (--minutes)"
            )
            continue
        best = max(through, key=lambda row: row["auc"])
        say(
            f"AUC within 0.001 of the best {whom}",
            f"{ours['auc']:.4f} against {best['auc']:.4f} ({best['name']})",
            ours["auc"] >= best["auc"] - 0.001,
        )
    return verdicts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--only", nargs="+", default=CONTENDERS[:-2], choices=CONTENDERS, metavar="NAME"
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=11,
        help="who is not through by then has its speed printed and no AUC",
    )
    parser.add_argument("--json", type=Path, help="write the table there too")
    options = parser.parse_args()
    data = HOME / f"upstream-{options.rows}"
    begun = time.perf_counter()
    make(data, options.rows)
    labels = pl.read_parquet(data / "test.parquet")[LABEL].to_numpy()
    contenders: list[Contender] = []
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for name in options.only:  # one after the other, so that each loads alone
                contenders.append(Contender(name, data, Path(scratch)))
                contenders[-1].load()
                said = (
                    contenders[-1].failure
                    or f"first batch after {contenders[-1].first_batch_s:.2f} s"
                )
                print(f"{name}: {said}", file=sys.stderr, flush=True)
            turn = 0
            while (
                running := [c for c in contenders if c.running]
            ) and time.perf_counter() - begun < 60 * options.minutes:
                for c in running:
                    c.race(turn, labels)
                turn += 1
        finally:
            for c in contenders:
                if c.running:
                    c.peak_mb = c.peak_so_far_mb()
                    c.stop()
    rows = table(contenders)
    show(rows)
    verdicts = judge(rows)
    print(
        *verdicts,
        f"load average {os.getloadavg()[0]:.1f}; {time.perf_counter() - begun:,.0f} s in all",
        sep="\n",
    )
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "targets": verdicts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
