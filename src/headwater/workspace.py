"""Workspace: a factory.yaml, opened: its config, its declared data and its warehouse, seen from one
of its lanes. The only holder of all of them; what is below takes values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.blobs import MAIN, Blobs, Layout, LocalBlobs
from headwater.config import FactoryConfig, load_config, warehouse_of
from headwater.errors import EditionMissing, StoreError
from headwater.events import ExampleReader
from headwater.schema import Schema
from headwater.store import (
    Catalog,
    CatalogStore,
    Daily,
    Edition,
    EditionView,
    Entry,
    Lane,
    MergeRule,
    Tombstones,
    read_daily,
)

if TYPE_CHECKING:
    from headwater.evaluation import Judged
    from headwater.store.predictions import Grouping, Predictions


@dataclass(frozen=True)
class Workspace:
    """`declared` is the config with all its lanes, `root` the folder that relative paths count
    from. `origin` is the warehouse whose erasures and encoded days hold here too: its own, or that
    of the factory which a backtest belongs to.
    """

    declared: FactoryConfig
    root: Path
    layout: Layout
    origin: Layout

    @classmethod
    def of(
        cls, config: FactoryConfig, root: Path, lane: str = MAIN, warehouse: Path | None = None
    ) -> Workspace:
        """Raises ConfigError for a lane that is not declared."""
        layout = Layout(warehouse or warehouse_of(config, root), lane)
        made = cls(config, root, layout, layout)
        made.config  # noqa: B018 - a lane that is not declared is told now
        return made

    @classmethod
    def load(cls, path: str | Path, lane: str = MAIN) -> Workspace:
        """From a `factory.yaml`. Raises ConfigError."""
        path = Path(path)
        return cls.of(load_config(path), path.resolve().parent, lane)

    def of_lane(self, lane: str) -> Workspace:
        """The same factory, seen from another of its lanes. Raises ConfigError."""
        if lane == self.lane:
            return self
        return Workspace.of(self.declared, self.root, lane, self.layout.root)

    def of_live_lane(self) -> Workspace:
        """Seen from the lane that readers follow. Raises ConfigError, StoreError."""
        return self.of_lane(self.live_lane())

    # ---- what is declared ------------------------------------------------------------------------

    @property
    def lane(self) -> str:
        return self.layout.lane

    @cached_property
    def config(self) -> FactoryConfig:
        """As the lane runs it."""
        return self.declared.for_lane(self.lane)

    @cached_property
    def schema(self) -> Schema:
        return Schema.from_config(self.config, self.root)

    @property
    def rule(self) -> MergeRule:
        """How days become one."""
        return MergeRule.of(self.config.lifecycle, self.config.store)

    @property
    def longest_wait_days(self) -> int:
        """After so many days every label of a day is known."""
        return max((task.matures_days for task in self.schema.tasks.values()), default=0)

    def events(self, quarantine: bool = False) -> ExampleReader:
        """What reads the logs, past who was erased until now; refused rows are kept in quarantine
        if asked.
        """
        kept = self.layout.quarantine if quarantine else None
        # a backtest reads the lake of its factory, and leaves it as it is
        keeps = quarantine and self.layout.root == self.origin.root
        erased, lake = self.tombstones().matches, self.origin.lake
        return ExampleReader(self.schema, self.config.zone, kept, erased, lake, keeps)

    # ---- the warehouse ---------------------------------------------------------------------------

    @cached_property
    def blobs(self) -> Blobs:
        return LocalBlobs(self.layout.root)

    @property
    def catalogs(self) -> CatalogStore:
        return CatalogStore(self.blobs)

    def catalog(self) -> Catalog:
        """As it is now. Raises StoreError where it is damaged."""
        return self.catalogs.read()

    def live_lane(self) -> str:
        """The lane that readers follow; `main` before the first day."""
        live = self.catalog().live
        return live.lane if live is not None else MAIN

    def tombstones(self) -> Tombstones:
        """Who was erased until now."""
        return Tombstones.read(self.origin)

    @cached_property
    def predictions(self) -> Predictions:
        # Who reads vectors needs no statistics.
        from headwater.store.predictions import Predictions

        return Predictions(self.layout, self.config.evaluation.users_share)

    def grouping(self, log: str) -> Grouping:
        """Within what the rows of a log compete, as the config says now."""
        from headwater.store.predictions import Grouping

        return Grouping(self.schema.logs[log].group, lambda day: self.events().logs[log].day(day))

    def judged(self, consumer: str, among: Collection[dt.date]) -> Judged:
        """A ranker's judged rows of the days `among` that the config evaluates.

        Raises ExperimentError where there are none, LogError where their groups are to be read from
        a log that is not there.
        """
        span = self.config.evaluation
        grouping = self.grouping(self.config.tasks[self.config.downstream[consumer].task].log)
        return self.predictions.pooled(consumer, span.start, span.end, among, grouping)

    # ---- the lane's days -------------------------------------------------------------------------

    def chain(self) -> Lane:
        return self.catalog().lane(self.lane)

    def days_done(self) -> list[dt.date]:
        """The days that the catalog has; what other days left behind is not built upon."""
        return [entry.day for entry in self.chain().days]

    def done_before(self, day: dt.date) -> list[dt.date]:
        return [known for known in self.days_done() if known < day]

    def entry(self, day: dt.date) -> Entry:
        """Raises EditionMissing."""
        chain = self.chain()
        found = chain.get(day)
        if found is None:
            days = [entry.day for entry in chain.days]
            have = f"There are {len(days)}, {days[0]} to {days[-1]}." if days else "None yet."
            raise EditionMissing(
                f"no edition of {day} in {self.layout.home}. {have} `headwater run --day {day}`"
                " makes it."
            )
        return found

    def open(self, entry: Entry) -> Edition:
        """The lane's edition of a catalog's entry. Raises StoreError where its files are gone."""
        return open_edition(self.layout, entry)

    def edition(self, day: dt.date) -> Edition:
        """Raises EditionMissing, StoreError."""
        return self.open(self.entry(day))

    def edition_before(self, day: dt.date) -> Edition | None:
        """The edition of the last day done before `day`; None for the first. Raises StoreError."""
        earlier = self.done_before(day)
        return self.edition(earlier[-1]) if earlier else None

    def as_of(self, day: dt.date) -> EditionView:
        """The store as a reader saw it at the end of `day`: its newest edition no later than that,
        or none.
        """
        entry = self.chain().as_of(day)
        return EditionView(day, None if entry is None else self.open(entry))

    def served_on(self, day: dt.date) -> EditionView:
        """What consumers read on `day`: the newest edition that was published `lag_days` before."""
        return self.as_of(day - dt.timedelta(days=self.config.lifecycle.lag_days))

    def daily_of(self, day: dt.date) -> dict[str, Daily]:
        """The daily vectors that the edition of a day was made of. Raises EditionMissing,
        StoreError.
        """
        return daily_of(self.layout, self.edition(day))


def open_edition(layout: Layout, entry: Entry) -> Edition:
    """The edition of an entry, in the layout of its lane. Raises StoreError where its files are
    gone.
    """
    if entry.folder is None:
        raise StoreError(
            f"the edition of {entry.day} was removed by retention; lifecycle.keep_days says how"
            " long they are kept."
        )
    return Edition.load(layout.home / entry.folder)


def daily_of(layout: Layout, edition: Edition) -> dict[str, Daily]:
    """The daily vectors that an edition was made of, by name, in its own order. Raises
    StoreError.
    """
    found: dict[str, Daily] = {}
    for folder in edition.daily.values():
        found |= read_daily(layout.home / folder, edition.day) or {}
    if not edition.daily or not found.keys() >= edition.snapshots.keys():
        raise StoreError(
            f"the daily snapshots of {edition.day} are gone; lifecycle.keep_days says how long they"
            " are kept."
        )
    return {name: found[name] for name in edition.snapshots}
