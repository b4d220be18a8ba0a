"""Shared worlds and factories. All are small, seeded, and run in this process."""

from __future__ import annotations

import copy
import datetime as dt
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from headwater.config import parse_config
from headwater.digests import digest_of
from headwater.embeddings import Space
from headwater.evaluation import Table
from headwater.evidence import ask, table_of
from headwater.factory import Factory
from headwater.models.upstream.derm.plan import sizes_of
from headwater.models.upstream.derm.work import DermDay
from headwater.pipeline.inputs import DayInputs
from headwater.recipes import RECIPES
from headwater.workspace import Workspace
from headwater.worlds.adsworld import SIZES, write_world

FIRST = dt.date(2025, 1, 6)
TINY = replace(
    SIZES["tiny"],
    users=120,
    items=40,
    impressions_a_day=400,
    organic_visits_a_day=150,
    days=6,
    matures_days=2,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker begins one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def day(n: int) -> dt.date:
    """The n-th day of the tiny world, from 0."""
    return FIRST + dt.timedelta(days=n)


@pytest.fixture(scope="session", autouse=True)
def no_syncing() -> Iterator[None]:
    """Nothing that a test writes has to outlive a power cut. (What a killed process leaves is
    looked at in processes of their own.)
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adsworld") / "world"
    write_world(folder, TINY, seed=7)
    return folder


def tiny_config(data: Path, written: Path | None = None) -> dict[str, Any]:
    """The adsworld recipe, cut to what a test needs: one seed, few variants, small models, no
    worker processes.
    """
    raw = copy.deepcopy(RECIPES["adsworld"].config(data, written or data))
    small = {"seeds": [0], "hidden": 8, "feature_width": 4, "id_buckets": 200, "batch_rows": 128}
    raw["downstream"]["ctr"] |= small | {"variants": ["none", "all", "shuffled"]}
    raw["downstream"]["cvr"] |= small | {"variants": ["none", "all"], "sequence": {"length": 0}}
    for upstream in raw["upstreams"].values():
        upstream |= {"size": "tiny", "id_buckets": 200, "epochs": 1}
    raw |= {"workers": 0, "evaluation": {"start": str(day(1))}}
    return raw


Finished = Callable[[dict[str, Any], int], Path]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, world: Path) -> Finished:
    """Folders of factories on the tiny world that ran their first days, one after the other, each
    made once. To be copied, never changed.
    """
    folder, made = tmp_path_factory.mktemp("finished"), dict[str, Path]()

    def of(raw: dict[str, Any], days: int) -> Path:
        name = f"{digest_of(json.dumps(raw, sort_keys=True))[:12]}-{days}"
        if name not in made:
            root = folder / name
            if days == 0:
                shutil.copytree(world, root / "world")
            else:
                shutil.copytree(of(raw, days - 1), root)
                Factory(parse_config(raw), root).run_day(day(days - 1))
            made[name] = root
        return made[name]

    return of


@pytest.fixture
def make_factory(tmp_path: Path, world: Path, finished: Finished) -> Callable[..., Factory]:
    """A factory on a copy of the tiny world, so that a test may change its data, that ran its first
    days.
    """

    def make(
        change: Callable[[dict[str, Any]], None] = lambda raw: None,
        name: str = "factory",
        ran: int = 0,
    ) -> Factory:
        root = tmp_path / name
        raw = tiny_config(world, Path("world"))
        change(raw)
        config = parse_config(raw)
        if ran or not root.exists():
            shutil.copytree(finished(raw, ran), root)  # fails where there is one already
        return Factory(config, root)

    return make


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, world: Path) -> Path:
    """The factory.yaml of a tiny factory that ran four days. Read only."""
    root = tmp_path_factory.mktemp("done")
    shutil.copytree(world, root / "world")
    path = root / "factory.yaml"
    raw = tiny_config(root / "world")
    path.write_text(yaml.safe_dump(json.loads(json.dumps(raw)), sort_keys=False))
    factory = Factory.load(path)
    for _ in factory.backfill(day(0), day(3)):
        pass
    return path


def read_day(factory: Factory, now: dt.date) -> DayInputs:
    """What a day reads, after the days that the factory has run."""
    return factory.run.reader.read(now, factory.days_done())


def derm_days(factory: Factory, inputs: DayInputs) -> dict[str, DermDay]:
    """The day's work of every upstream, with its rows in memory."""
    before = factory.workspace.edition_before(inputs.day)
    return {
        name: DermDay.of(factory.run.vectors._job(plan, inputs, before).work)
        for name, plan in factory.run.plans.items()
    }


def space_of(work: DermDay, first: dt.date) -> Space:
    """The space of the vectors of an upstream that began on the day `first`."""
    plan = work.plan
    return Space(plan.name, digest_of(plan.signature, first), sizes_of(plan.config).width, first)


def table_at(path: Path, name: str, consumer: str | None = None) -> Table:
    """A table, as `headwater lift` makes it of the factory.yaml at `path`."""
    return table_of(ask(Workspace.load(path), name, consumer))


def bytes_of(folder: Path) -> dict[str, str]:
    """Digest of every file below, locks and what is made again at need aside."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix not in (".lock", ".mdb")
        and not {"cache", "lake"} & set(path.parts)
    }


@pytest.fixture(scope="session")
def kuairand() -> Path:
    """The real log, where HEADWATER_DATA names a folder that has it."""
    folder = Path(os.environ.get("HEADWATER_DATA", "data")) / "kuairand"
    if not (folder / "interactions.parquet").is_file():
        pytest.skip(
            "KuaiRand is not here: set HEADWATER_DATA to a folder with"
            " kuairand/interactions.parquet"
        )
    return folder.resolve()
