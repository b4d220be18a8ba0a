"""Engine: where work runs. A seam of two methods; it does not know what it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Need:
    """What one job takes of a machine, for engines that place jobs: cores, and GPUs."""

    cores: int = 1
    gpus: int = 0


ONE_CORE = Need()


class Engine(Protocol):
    """Runs jobs. A job is keys and settings, never arrays: it may go to another machine."""

    def map(
        self, function: Callable[[Job], Result], jobs: Iterable[Job], need: Need = ONE_CORE
    ) -> Iterator[Result]:
        """Results in the order of the jobs, as they come; an exception of a job is raised here."""

    def close(self) -> None:
        """Free what the engine holds; it may be used again afterwards."""
