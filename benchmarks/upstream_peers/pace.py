"""What a driver says to `benchmarks.upstream_speed`, and when it may go on; standard library and
NumPy only (but for one import of torch).

    python -m benchmarks.upstream_peers.NAME DATA PREDICTIONS [variant]

One line of JSON for each event; after each, the driver waits for a line. Steps go in segments of
`SEGMENT`, so that those of all contenders alternate.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH, THREADS, SEGMENT, WIDTH, LAYERS, MLP, SEED = 4096, 2, 24, 16, 3, (256, 128), 1


def peak_rss_mb() -> float:
    """Of this program alone. Linux's ru_maxrss starts from the peak of the process that spawned
    it.
    """
    return (
        int(
            next(
                line
                for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmHWM")
            ).split()[1]
        )
        / 1024
    )


class Pace:
    """Clock of one contender. Made after the imports, before any data is read."""

    def __init__(self) -> None:
        self.data, self.predictions = Path(sys.argv[1]), Path(sys.argv[2])
        self.variant = sys.argv[3] if len(sys.argv) > 3 else ""
        self._out = os.fdopen(os.dup(1), "w")
        importlib.import_module(
            "torch._dynamo"
        )  # the first optimiser would import it: a second or more that is no loading
        os.dup2(2, 1)  # what a library prints goes to the log
        self._rows = self._steps = 0
        self._begun = False
        self._restart()

    def train_files(self) -> list[str]:
        return sorted(map(str, (self.data / "train").glob("*.parquet")))

    def step(self, rows: int) -> None:
        """A batch has reached the model. The first one ends the loading."""
        if not self._begun:
            self._begun = True
            self._say("ready")
        elif self._steps == SEGMENT:
            self._say("segment")
        self._steps += 1
        self._rows += rows

    def trained(self) -> None:
        self._say("trained", peak_mb=peak_rss_mb())

    def done(self, predictions_N: Any) -> None:
        np.save(self.predictions, np.asarray(predictions_N, np.float64).ravel())
        self._say("done")

    def _say(self, event: str, **more: float) -> None:
        seconds, cpu = time.perf_counter() - self._start, time.process_time() - self._cpu
        self._out.write(
            json.dumps({"event": event, "seconds": seconds, "cpu": cpu, "rows": self._rows} | more)
            + "\n"
        )
        self._out.flush()
        sys.stdin.readline()
        self._restart()

    def _restart(self) -> None:
        self._rows = self._steps = 0
        self._start, self._cpu = time.perf_counter(), time.process_time()
