"""Factory: the public face of a factory on disk. It runs days; what reads is `Reader`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from headwater.blobs import MAIN
from headwater.config import FactoryConfig
from headwater.console import SILENT, Console
from headwater.pipeline.day import Day
from headwater.pipeline.replay import backfill, run_or_replay
from headwater.pipeline.run import Run
from headwater.store.reports import DayReport
from headwater.workspace import Workspace


class Factory:
    """A factory's config, data and warehouse, seen from one of its lanes; and the worker processes
    that run its days, until it is closed.
    """

    def __init__(
        self, config: FactoryConfig, root: Path, console: Console = SILENT, lane: str = MAIN
    ) -> None:
        """Relative paths in the config count from `root`. Raises ConfigError."""
        self.run = Run.of(Workspace.of(config, root, lane), console)

    @classmethod
    def load(cls, path: str | Path, console: Console = SILENT, lane: str = MAIN) -> Factory:
        """From a `factory.yaml`. Raises ConfigError."""
        workspace = Workspace.load(path)
        return cls(workspace.declared, workspace.root, console, lane)

    @property
    def workspace(self) -> Workspace:
        return self.run.workspace

    @property
    def config(self) -> FactoryConfig:
        """As the lane runs it."""
        return self.workspace.config

    def run_day(self, day: dt.date, replay: bool = False, force: bool = False) -> DayReport:
        """Run one day. With `replay`, every later day that was run is run again too; with `force`,
        an edition that a gate refuses is published all the same, and that is written down.

        Raises LogError, EditionConflict, GateError, StoreError, ModelError.
        """
        return run_or_replay(self.run, Day(day, replay, force))

    def backfill(self, start: dt.date, end: dt.date, force: bool = False) -> Iterator[DayReport]:
        """Run the days from `start` to `end`; those done already are checked and left as they
        are.
        """
        return backfill(self.run, start, end, force)

    def days_done(self) -> list[dt.date]:
        return self.workspace.days_done()

    def close(self) -> None:
        """Let go of the worker processes."""
        self.run.close()
