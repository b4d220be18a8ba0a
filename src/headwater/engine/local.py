"""The local engine: worker processes of one thread each, or this process."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from headwater.engine.base import ONE_CORE, Job, Need, Result

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
PR_SET_PDEATHSIG = 1


class LocalEngine:
    """`workers` processes, each limited to one thread so that results do not depend on the number
    of cores; every job has one core, whatever it needs.

    With 0 workers the jobs run here, one by one. Functions and jobs must be picklable otherwise.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def map(
        self, function: Callable[[Job], Result], jobs: Iterable[Job], need: Need = ONE_CORE
    ) -> Iterator[Result]:
        if self.workers == 0:
            return map(function, jobs)
        if self._pool is None:
            # A fork would inherit the locks of OpenMP threads.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_start_worker
            )
        return self._pool.map(function, jobs)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _start_worker() -> None:
    for name in THREADS:
        os.environ[name] = "1"
    # Ctrl-C is for the parent, which then ends the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # A killed parent leaves no orphans.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
