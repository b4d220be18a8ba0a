"""What every kind of upstream keeps to, on a small log of clicks with three days."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from headwater.config import FactoryConfig, parse_config
from headwater.embeddings.daily import DailyVectors
from headwater.embeddings.snapshot import Basis, day_number
from headwater.events import ExampleCache, ExampleReader
from headwater.events.examples import distinct_ids
from headwater.events.kept import EncodedRows, keep_ids, keep_listed
from headwater.models.upstream import (
    Upstream,
    UpstreamJob,
    UpstreamPlan,
    UpstreamResult,
    kind_of,
    plan_of,
)
from headwater.schema import Schema

FIRST = dt.date(2025, 1, 1)
DAYS, USERS, ITEMS, ROWS = 3, 12, 8, 60
NAME = "mine"


def after(n: int) -> dt.date:
    return FIRST + dt.timedelta(days=n)


def write_log(folder: Path) -> None:
    """Impressions of three days; users with an even number click items with one."""
    generator = np.random.default_rng(5)
    for n in range(DAYS):
        users, items = generator.integers(0, USERS, ROWS), generator.integers(0, ITEMS, ROWS)
        start = day_number(after(n)) * 86_400_000
        frame = {
            "time": start + np.sort(generator.integers(0, 86_400_000, ROWS)),
            "user": [f"u{user}" for user in users],
            "item": [f"i{item}" for item in items],
            "clicked": ((users + items) % 2 == 0).astype(np.int64),
        }
        pl.DataFrame(frame).write_parquet(folder / f"{after(n)}.parquet")
    table = {"item": [f"i{item}" for item in range(ITEMS + 2)], "colour": ["red", "blue"] * 5}
    (folder / "tables").mkdir(exist_ok=True)
    pl.DataFrame(table).write_parquet(folder / "tables" / "items.parquet")


class World:
    """The log, and the jobs of an upstream on it as a factory would make them."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        write_log(folder)
        self.folder = folder
        self.config: FactoryConfig = parse_config(
            {
                "name": "contract",
                "logs": {
                    "feed": {
                        "path": str(folder / "*.parquet"),
                        "time": "time",
                        "entities": {"user": "user", "item": "item"},
                    }
                },
                "entities": {
                    "user": {},
                    "item": {
                        "table": str(folder / "tables" / "items.parquet"),
                        "key": "item",
                        "features": {"colour": "categorical"},
                    },
                },
                "tasks": {"click": {"log": "feed", "label": "clicked"}},
                "upstreams": {NAME: {"tasks": ["click"], **settings}},
            }
        )
        self.schema = Schema.from_config(self.config, folder)
        self.reader = ExampleReader(self.schema, ZoneInfo("UTC"))

    @property
    def plan(self) -> UpstreamPlan:
        return plan_of(self.config, self.schema, NAME)

    def job(self, n: int, before: Path | None, folder: Path) -> UpstreamJob:
        """The n-th day's work, after the state in `before`."""
        plan, day = self.plan, after(n)
        cache = ExampleCache(self.folder / "cache", NAME, list)
        rows = [self._rows(cache, after(m)) for m in range(n + 1)]
        ids, listed = {}, {}
        for entity in plan.entities:
            ids[entity] = cache.beside(day, f"{entity}.ids")
            keep_ids(ids[entity], *distinct_ids([self.reader.logs["feed"].day(day)], entity))
        for entity in plan.needs.listed:
            listed[entity] = cache.beside(day, f"{entity}.listed")
            everyone = self.reader.listing(
                "feed", entity, day, lambda keys: np.ones(len(keys), bool)
            )
            keep_listed(listed[entity], everyone)
        shown = tuple(rows[-plan.needs.window_days :])
        return UpstreamJob(plan, day, (rows[-1],), shown, ids, before, folder, f"day-{n}", listed)

    def _rows(self, cache: ExampleCache, day: dt.date) -> EncodedRows:
        events, tasks = self.reader.logs["feed"].day(day), ("click",)
        folder = cache.place("feed", day, tasks, matured=False)
        cache.keep(folder, [self.reader.build(events, tasks, day)], len(events))
        return EncodedRows(folder, tasks)


class UpstreamContract(ABC):
    """Subclass it with `settings`."""

    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What stands under `upstreams.NAME` in factory.yaml, but for its tasks."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return World(tmp_path / "world", self.settings())

    def run(self, world: World, folder: Path, days: int = DAYS) -> list[UpstreamResult]:
        """The first days, one after the other, each in a folder of its own."""
        kind, before, made = kind_of(world.plan.kind), None, []
        for n in range(days):
            job = world.job(n, before, folder / str(n))
            made.append(kind.run(job))
            before = job.folder
        return made

    def test_a_plan_is_the_same_each_time_and_says_what_is_made(self, world: World) -> None:
        plan = world.plan
        assert plan == world.plan
        assert plan.name == NAME
        assert plan.width > 0
        assert plan.entities
        assert plan.logs == ("feed",)

    def test_another_seed_is_another_space(self, world: World) -> None:
        other = World(world.folder, {**self.settings(), "seed": 12345})
        assert other.plan.space(FIRST) != world.plan.space(FIRST)

    def test_it_gives_what_its_plan_names(self, world: World, tmp_path: Path) -> None:
        plan = world.plan
        for n, result in enumerate(self.run(world, tmp_path)):
            assert [made.entity for made in result.vectors] == list(plan.entities)
            for made in result.vectors:
                assert made.vectors_ND.shape == (len(made.keys_N), plan.width)
                assert made.space.upstream == NAME
                made.snapshot(after(n))  # finite, ascending, not seen later than today

    def test_whoever_the_day_shows_has_a_vector_that_was_seen(
        self, world: World, tmp_path: Path
    ) -> None:
        for n, result in enumerate(self.run(world, tmp_path)):
            for made in result.vectors:
                shown, _ = distinct_ids([world.reader.logs["feed"].day(after(n))], made.entity)
                assert set(shown.tolist()) <= set(seen_keys(made).tolist())

    def test_ids_stand_beside_their_keys(self, world: World, tmp_path: Path) -> None:
        from headwater.ids import keys_of

        for made in self.run(world, tmp_path, days=1)[0].vectors:
            np.testing.assert_array_equal(keys_of(made.ids), made.keys_N)

    def test_days_stay_in_one_space(self, world: World, tmp_path: Path) -> None:
        results = self.run(world, tmp_path)
        spaces = {made.space for result in results for made in result.vectors}
        assert spaces == {world.plan.space(FIRST)}

    def test_the_same_job_gives_the_same_bytes(self, world: World, tmp_path: Path) -> None:
        once, again = (self.run(world, tmp_path / name) for name in ("a", "b"))
        assert same(once, again)

    def test_a_finished_job_is_recognised(self, world: World, tmp_path: Path) -> None:
        kind: Upstream = kind_of(world.plan.kind)
        job = world.job(0, None, tmp_path / "day")
        first = kind.run(job)
        state = files_of(job.folder)
        assert same([first], [kind.run(job)])
        assert files_of(job.folder) == state

    def test_the_next_day_goes_on_from_the_state_that_was_left(
        self, world: World, tmp_path: Path
    ) -> None:
        """A day that begins anew is another one, unless nothing is learnt from day to day."""
        self.run(world, tmp_path, days=2)
        kind = kind_of(world.plan.kind)
        state = files_of(tmp_path / "0")
        kind.run(world.job(1, tmp_path / "0", tmp_path / "again"))
        assert files_of(tmp_path / "0") == state  # yesterday's state stays as it was
        assert files_of(tmp_path / "again") == files_of(tmp_path / "1")

    def test_jobs_can_be_sent_to_another_process(self, world: World, tmp_path: Path) -> None:
        import pickle

        job = world.job(0, None, tmp_path / "day")
        sent = pickle.loads(pickle.dumps(job))
        assert len(pickle.dumps(job)) < 100_000  # keys and settings, no arrays
        assert same([kind_of(job.plan.kind).run(sent)], self.run(world, tmp_path, days=1))

    def test_a_job_reads_no_more_than_it_names(self, world: World, tmp_path: Path) -> None:
        """Without rows to learn it still embeds whom the day shows."""
        job = replace(world.job(0, None, tmp_path / "day"), learn=())
        for made in kind_of(job.plan.kind).run(job).vectors:
            shown, _ = job.ids_of(made.entity)
            assert set(shown.tolist()) <= set(made.keys_N.tolist())


def seen_keys(made: DailyVectors) -> np.ndarray:
    """The keys [M] of those whose vector rests on rows."""
    if made.basis_N is None:
        return made.keys_N
    return np.asarray(made.keys_N[made.basis_N == Basis.SEEN])


def same(one: list[UpstreamResult], other: list[UpstreamResult]) -> bool:
    """Whether two runs gave the same vectors, to the byte."""
    return [digests(result) for result in one] == [digests(result) for result in other]


def digests(result: UpstreamResult) -> list[tuple[str, str]]:
    return [(made.entity, made.snapshot(dt.date.max).digest) for made in result.vectors]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
