"""What every engine keeps to."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import pytest

from headwater.engine import Engine, Need
from headwater.errors import ModelError


def square(x: int) -> int:
    return x * x


def late(x: int) -> int:
    """Tasks that come first end last."""
    time.sleep(0.02 * (5 - x))
    return x


def norms(rows_ND: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(rows_ND, axis=1))


def fail_on_three(x: int) -> int:
    if x == 3:
        raise ModelError(f"task {x} failed")
    return x


class EngineContract(ABC):
    """Subclass it with `make`."""

    @abstractmethod
    def make(self) -> Engine:
        """An engine, ready to map."""

    @pytest.fixture
    def engine(self) -> Iterator[Engine]:
        engine = self.make()
        yield engine
        engine.close()

    def test_results_come_in_the_order_of_the_tasks(self, engine: Engine) -> None:
        assert list(engine.map(square, range(20))) == [x * x for x in range(20)]
        assert list(engine.map(late, range(5))) == [0, 1, 2, 3, 4]

    def test_tasks_may_come_from_a_generator_and_there_may_be_none(self, engine: Engine) -> None:
        assert list(engine.map(square, (x for x in (3, 1)))) == [9, 1]
        assert list(engine.map(square, [])) == []

    def test_arrays_come_back_to_the_bit(self, engine: Engine) -> None:
        generator = np.random.default_rng(0)
        tasks = [generator.standard_normal((n, 3)).astype(np.float32) for n in range(4)]
        for found, task in zip(engine.map(norms, tasks), tasks, strict=True):
            np.testing.assert_array_equal(found, norms(task))

    def test_an_error_of_a_task_is_raised_as_it_is_and_results_before_it_are_had(
        self, engine: Engine
    ) -> None:
        results = engine.map(fail_on_three, range(5))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ModelError, match="task 3 failed"):
            next(results)

    def test_after_an_error_it_goes_on_with_other_tasks(self, engine: Engine) -> None:
        with pytest.raises(ModelError, match="task 3 failed"):
            list(engine.map(fail_on_three, [3]))
        assert list(engine.map(square, [4])) == [16]

    def test_a_job_may_say_what_it_needs_and_gives_the_same(self, engine: Engine) -> None:
        assert list(engine.map(square, range(4), Need(cores=2))) == [0, 1, 4, 9]
        assert list(engine.map(square, range(4), need=Need(gpus=1))) == [0, 1, 4, 9]

    def test_it_may_be_closed_twice(self) -> None:
        engine = self.make()
        list(engine.map(square, [1]))
        engine.close()
        engine.close()
