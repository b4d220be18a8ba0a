"""Erasure: gone from every byte of the warehouse, for good, with a proof; and nobody else is
touched.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from at import catalog_at
from conftest import day, tiny_config
from headwater.blobs import Layout
from headwater.config import FactoryConfig, parse_config
from headwater.errors import StoreError
from headwater.factory import Factory
from headwater.ids import key_of
from headwater.lifecycle import erase, pin
from headwater.serving.reader import Reader
from headwater.store import MAIN, LmdbStore, Tombstones
from shop import Shop, after, vectors_of


def traces(warehouse: Path, value: str, text: bool = True) -> list[str]:
    """Files whose bytes hold an id as text, or its key or number as 8 bytes, little- or big-endian;
    Parquet read as tables too.
    """
    key = key_of(value)
    patterns = [
        value.encode(),
        key.to_bytes(8, "little"),
        key.to_bytes(8, "big"),
        str(key).encode(),
    ]
    if not text:
        patterns.remove(value.encode())  # a short id stands in other ids, and in any file by chance
    if value.isdigit():
        patterns += [int(value).to_bytes(8, "little"), int(value).to_bytes(8, "big")]
    found = []
    for path in sorted(path for path in warehouse.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            frame = pl.read_parquet(path)
            data += b"|".join(
                str(cell).encode()
                for row in frame.select(pl.col(pl.String, pl.UInt64, pl.Int64)).iter_rows()
                for cell in row
            )
        if any(pattern in data for pattern in patterns):
            found.append(str(path.relative_to(warehouse)))
    return found


def one_user(factory: Factory) -> str:
    frame = pl.concat(
        [
            pl.read_parquet(factory.workspace.root / "world" / "impressions" / f"{day(n)}.parquet")
            for n in range(3)
        ]
    )
    return str(frame["user_id"].value_counts(sort=True)["user_id"][0])


def with_bad_rows(factory: Factory, user: str) -> None:
    """A repeated row of the user, which goes to quarantine."""
    path = factory.workspace.root / "world" / "impressions" / f"{day(1)}.parquet"
    frame = pl.read_parquet(path)
    pl.concat([frame, frame.filter(pl.col("user_id") == user).head(1)]).write_parquet(path)


def name_people(factory: Factory) -> None:
    """Ids that no file holds by chance."""
    for path in (factory.workspace.root / "world").rglob("*.parquet"):
        frame = pl.read_parquet(path)
        if "user_id" in frame.columns:
            frame.with_columns(
                ("person-" + pl.col("user_id").cast(pl.String) + "-x").alias("user_id")
            ).write_parquet(path)


class KeepsAll(LmdbStore):
    """A store that may be made to forget nothing."""


def config_of(world: Path) -> FactoryConfig:
    raw = tiny_config(world, Path("world"))
    raw["store"]["compact_after"] = 2
    return parse_config(raw)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, world: Path) -> Path:
    """The folder of a factory whose people have names, after four days. To be copied."""
    root = tmp_path_factory.mktemp("erasure") / "factory"
    shutil.copytree(world, root / "world")
    made = Factory(config_of(world), root)
    name_people(made)
    with_bad_rows(made, one_user(made))
    for _ in Factory(config_of(world), root).backfill(day(0), day(3)):
        pass
    pin(made.workspace, "ads", MAIN, day(1))
    return root


@pytest.fixture
def factory(tmp_path: Path, world: Path, ran: Path) -> Factory:
    shutil.copytree(ran, tmp_path / "factory")
    return Factory(config_of(world), tmp_path / "factory")


def test_no_byte_of_the_warehouse_holds_the_erased(factory, make_factory) -> None:
    user = one_user(factory)
    for name in ("tables/map-factory.csv", "plots/item-map.png"):  # the report names entities
        (factory.workspace.layout.home / "reports" / name).parent.mkdir(parents=True, exist_ok=True)
        (factory.workspace.layout.home / "reports" / name).write_text(user)
    assert {name.split("/")[0] for name in traces(factory.workspace.layout.root, user)} >= {
        "segments",
        "editions",
        "daily",
        "online",
        "predictions",
        "judged",
        "quarantine",
        "reports",
    }
    others = Reader(factory.workspace).lookup(
        "user", [one for one in users_of(factory) if one != user]
    )
    proof = erase(factory.workspace, "user", [user])
    assert traces(factory.workspace.layout.root, user) == []
    assert proof.as_json()["verified"]
    removed = {place.name: place.removed for place in proof.places}
    assert removed["main: segments (averages)"] >= 2
    assert removed["daily snapshots"] >= 2
    assert removed["predictions"] >= 1
    assert removed["quarantine/impressions"] == 1
    tombstone = json.loads((factory.workspace.layout.root / "tombstones.json").read_text())
    assert tombstone["tombstones"] == [
        ["user", hashlib.sha256(f"{tombstone['salt']}|user|{key_of(user)}".encode()).hexdigest()]
    ]
    reader = Reader(factory.workspace)
    with pytest.raises(StoreError, match="no user"):
        reader.lookup("user", [user])
    with pytest.raises(StoreError, match="no user"):
        Reader(factory.workspace, "ads").lookup("user", [user])
    found = reader.lookup("user", [one for one in users_of(factory) if one != user])
    assert found.vectors == others.vectors  # nobody else is touched
    assert reader.similar("item", "ad-1").items


def users_of(factory: Factory) -> list[str]:
    return [str(value) for value in Reader(factory.workspace).edition().read("ctr_user").ids]


def test_later_days_and_replays_respect_the_tombstone(factory, make_factory) -> None:
    user = one_user(factory)
    erase(factory.workspace, "user", [user])
    again = make_factory(lambda raw: raw["store"].update(compact_after=2))
    assert again.run_day(day(2)).day == day(
        2
    )  # done: its inputs cannot be compared any more, and it is left as it is
    report = again.run_day(day(4))
    assert report.erased["impressions"] > 0
    again.run_day(day(1), replay=True)
    assert traces(factory.workspace.layout.root, user) == []
    judged = pl.read_parquet(factory.workspace.layout.root / "judged" / "ctr" / f"{day(2)}.parquet")
    assert key_of(user) not in judged["user"].to_list()


def test_an_erased_item_leaves_everyones_history(factory, make_factory) -> None:
    erase(factory.workspace, "item", ["ad-1"])
    assert traces(factory.workspace.layout.root, "ad-1", text=False) == []
    again = make_factory(lambda raw: raw["store"].update(compact_after=2))
    examples = again.run.reader.events.read("impressions", day(3), ("click",), known_by=day(3))
    assert not (examples.histories["user"].keys_NL == np.uint64(key_of("ad-1"))).any()
    assert not (examples.keys["item"] == np.uint64(key_of("ad-1"))).any()
    with pytest.raises(StoreError, match="no item 'ad-1'"):
        Reader(again.workspace).similar("item", "ad-1")


def test_erasing_the_unknown_or_twice_is_no_error(tmp_path) -> None:
    shop = Shop(tmp_path)
    shop.publish(after(0), [vectors_of([712, 713], [[1, 0], [0, 1]])])
    before = shop.reader.lookup("user", [713]).vectors
    for ids in ([99], [712], [712]):
        assert erase(shop.workspace, "user", ids).as_json()["verified"]
    assert traces(tmp_path, "712", text=False) == []
    assert shop.reader.lookup("user", [713]).vectors == before
    assert len(list((tmp_path / "erasures").glob("*.json"))) == 3
    assert [entry.day for entry in catalog_at(tmp_path).lane(MAIN).days] == [after(0)]


def test_a_tombstone_matches_its_entity_and_no_other() -> None:
    keys = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    tombs = Tombstones("", frozenset(), frozenset()).with_keys("user", keys[:50].tolist())
    assert np.flatnonzero(tombs.matches("user", keys)).tolist() == list(range(50))
    assert not tombs.matches("item", keys).any()
    assert str(int(keys[0])) not in json.dumps(sorted(map(list, tombs.hashes)))


def test_damaged_tombstones_stop_everything(tmp_path) -> None:
    (tmp_path / "tombstones.json").write_text('{"salt": 3}')
    with pytest.raises(StoreError, match="not a list of tombstones"):
        Tombstones.read(Layout(tmp_path))


def test_what_no_catalog_names_is_erased_too(tmp_path) -> None:
    """A lane killed before its first switch, an online store that is no longer declared, and a
    warehouse that published nothing yet.
    """
    shop = Shop(tmp_path)
    shop.publish(after(0), [vectors_of(["person-7-x", "other"], [[1, 0], [0, 1]])])
    shop.compose(after(0), [vectors_of(["person-7-x", "other"], [[1, 0], [0, 1]])], lane="v2")
    assert {name.split("/")[0] for name in traces(tmp_path, "person-7-x")} >= {
        "online",
        "lanes",
        "segments",
    }
    without = Shop(tmp_path, store={"online": "none"})
    assert erase(without.workspace, "user", ["person-7-x"]).as_json()["verified"]
    assert traces(tmp_path, "person-7-x") == []
    empty = Shop(tmp_path / "empty")
    empty.compose(after(0), [vectors_of(["person-7-x", "other"], [[1, 0], [0, 1]])])
    assert erase(empty.workspace, "user", ["person-7-x"]).as_json()["verified"]
    assert traces(empty.root, "person-7-x") == []


@pytest.mark.parametrize(
    "declared",
    [
        {"kind": "headwater.store.online:LmdbStore"},  # a class is another kind than a name of ours
        "headwater.store.online:MemoryStore",
        "none",
    ],
)
def test_copies_of_an_online_store_that_was_exchanged_are_erased_too(tmp_path, declared) -> None:
    shop = Shop(tmp_path)
    days = [[vectors_of(["person-7-x", "other"], np.eye(2) + n, after(n))] for n in range(2)]
    shop.publish(after(0), days[0])
    assert any(name.startswith("online/lmdb/") for name in traces(tmp_path, "person-7-x"))
    exchanged = Shop(tmp_path, store={"online": declared})
    exchanged.publish(after(1), days[1])
    assert erase(exchanged.workspace, "user", ["person-7-x"]).as_json()["verified"]
    assert traces(tmp_path, "person-7-x") == []
    assert not (tmp_path / "online" / "lmdb").exists()


def test_a_copy_that_a_store_of_any_kind_still_holds_is_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(KeepsAll, "keep", lambda self, names: None)
    shop = Shop(tmp_path, store={"online": f"{KeepsAll.__module__}:KeepsAll"})
    shop.publish(after(0), [vectors_of(["person-7-x", "other"], np.eye(2))])
    with pytest.raises(StoreError, match="KeepsAll/ctr_user-"):
        erase(shop.workspace, "user", ["person-7-x"])


def test_lost_tombstones_are_missed(tmp_path) -> None:
    shop = Shop(tmp_path)
    shop.publish(after(0), [vectors_of([1, 2], [[1, 0], [0, 1]])])
    erase(shop.workspace, "user", [1])
    (tmp_path / "tombstones.json").unlink()
    with pytest.raises(StoreError, match="without it they come back"):
        Tombstones.read(Layout(tmp_path))


def test_killed_while_a_superseded_segment_is_removed_the_next_run_finishes(
    tmp_path, monkeypatch
) -> None:
    from headwater import files
    from headwater.lifecycle import finish_erasures

    shop = Shop(tmp_path, {"kind": "ema", "weight": 0.5})
    for n in range(2):
        shop.publish(
            after(n),
            [
                vectors_of(["gone", "stays"], np.eye(2) + n, after(n)),
                vectors_of(["i"], np.ones((1, 2)), after(n), "item"),
            ],
        )
    real, cut = files.shutil.rmtree, []

    def killed_halfway(path, *rest, **more) -> None:
        """The first segment loses its manifest, then the process is gone."""
        if "segments" in Path(path).parts and (Path(path) / "segment.json").exists() and not cut:
            cut.append(path)
            (Path(path) / "segment.json").unlink()
            raise KeyboardInterrupt
        real(path, *rest, **more)

    monkeypatch.setattr(files.shutil, "rmtree", killed_halfway)
    with pytest.raises(KeyboardInterrupt):
        erase(shop.workspace, "user", ["gone"])
    assert cut
    assert finish_erasures(shop.workspace).as_json()["verified"]
    assert not list(shop.root.rglob(".tmp-*"))
    assert shop.vector(shop.live, "gone") is None
    assert shop.vector(shop.live, "stays") is not None
