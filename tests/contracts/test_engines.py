"""Every engine keeps this contract."""

from __future__ import annotations

import os

import pytest

from headwater.engine import LocalEngine
from headwater.errors import ModelError


def square(x: int) -> int:
    return x * x


def where(x: int) -> tuple[int, str]:
    return os.getpid(), os.environ.get("OMP_NUM_THREADS", "")


def fail(x: int) -> int:
    raise ModelError(f"task {x} failed")


@pytest.fixture(params=[0, 2], ids=["here", "two workers"])
def engine(request):
    engine = LocalEngine(request.param)
    yield engine
    engine.close()


def test_results_come_in_the_order_of_the_tasks(engine) -> None:
    assert list(engine.map(square, range(20))) == [x * x for x in range(20)]


def test_an_error_of_a_task_is_raised_as_it_is(engine) -> None:
    with pytest.raises(ModelError, match="task 1 failed"):
        list(engine.map(fail, [1]))


def test_workers_are_processes_of_one_thread() -> None:
    engine = LocalEngine(1)
    ((pid, threads),) = engine.map(where, [0])
    engine.close()
    assert pid != os.getpid()
    assert threads == "1"
