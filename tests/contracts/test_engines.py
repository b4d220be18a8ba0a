"""Our own engine keeps the contract, here and in worker processes."""

from __future__ import annotations

import os

from headwater.engine import LocalEngine
from headwater.testing import EngineContract


def where(x: int) -> tuple[int, str]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS", "")


class TestHere(EngineContract):
    def make(self) -> LocalEngine:
        return LocalEngine(0)


class TestTwoWorkers(EngineContract):
    def make(self) -> LocalEngine:
        return LocalEngine(2)


def test_workers_are_processes_of_one_thread() -> None:
    engine = LocalEngine(1)
    ((pid, threads),) = engine.map(where, [0])
    engine.close()
    assert pid != os.getpid()
    assert threads == "1"
