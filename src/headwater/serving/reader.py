"""Reader: what a service needs of a factory, and nothing that trains: vectors, neighbours,
retrieval, status. No torch.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from headwater.config import FactoryConfig, embedding_names, load_config, warehouse_of
from headwater.embeddings import NEVER_SEEN, Space
from headwater.errors import ConfigError, EditionMissing, EntityMissing, SearchError, StoreError
from headwater.events import ExampleReader
from headwater.events.pairs import items_met, read_pairs
from headwater.files import digest_of, read_json
from headwater.ids import as_integer, key_of
from headwater.index import (
    fold_items,
    fold_queries,
    folded_space,
    log_popularity,
    matching_keys,
    open_index,
    unfold,
)
from headwater.lifecycle.erase import Tombstones
from headwater.plugins import resolve
from headwater.schema import Schema
from headwater.store import (
    MAIN,
    ONLINE_STORES,
    Catalog,
    Edition,
    Entry,
    Live,
    OnlineStore,
    get_served,
    read_catalog,
)
from headwater.store.catalog import home_of

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Neighbour:
    """One answer of a search: the entity's id and its score, which is the cosine with the query
    unless popularity counts too.
    """

    id: int | str
    score: float


@dataclass(frozen=True)
class Wanted:
    """Which items may be retrieved for a user. `only`: None for no such list."""

    user: int | str
    where: tuple[str, ...]
    exclude: tuple[int | str, ...]
    only: tuple[int | str, ...] | None
    unseen: bool


class Reader:
    """Answers from one edition. Every call reads the catalog once, so an answer never mixes two
    editions.
    """

    def __init__(self, config: FactoryConfig, root: Path, consumer: str | None = None) -> None:
        self.config, self.consumer, self._root = config, consumer, root
        self.warehouse = warehouse_of(config, root)
        self._raw = config.model_dump()
        self._last: tuple[Live, Edition] | None = None
        self._opened: dict[Path, OnlineStore] = {}

    @classmethod
    def load(cls, path: str | Path, consumer: str | None = None) -> Reader:
        """From a `factory.yaml`. A `consumer` with a pin reads the pinned edition, all others the
        live one. Raises ConfigError.
        """
        path = Path(path)
        return cls(load_config(path), path.resolve().parent, consumer)

    def edition(self) -> Edition:
        """The edition that this reader follows. Raises EditionMissing."""
        return self._with_edition(lambda edition: edition)

    def lookup(self, entity: str, ids: Sequence[int | str]) -> dict[str, Any]:
        """Every upstream's vector of each entity: {"edition", "vectors": {id: {embedding: [D
        floats]}}}; under a policy that keeps a sequence, a list of such lists, newest first.
        `content_only` lists the embeddings of those that no log has shown yet, by id.

        Raises EntityMissing, naming all ids that the edition does not know; then there is no vector
        at all.
        """
        self._expect_entity(entity)

        def answer(edition: Edition) -> dict[str, Any]:
            names = [
                name for name in edition.snapshots if edition.snapshots[name]["entity"] == entity
            ]
            served = {name: self._vectors(edition, name, ids) for name in names}
            vectors: dict[str, dict[str, list[Any]]] = {}
            for place, value in enumerate(ids):
                found = {name: rows[place] for name, rows in served.items()}
                vectors[str(value)] = {
                    name: vector.tolist() for name, vector in found.items() if vector is not None
                }
            unknown = [value for value, found in vectors.items() if not found]
            if unknown:
                raise _missing(entity, unknown, edition)
            ages = {
                name: edition.lookup(name, _keys(ids), edition.day).age_days_N for name in names
            }
            content = {
                str(value): [name for name in names if ages[name][place] == NEVER_SEEN]
                for place, value in enumerate(ids)
            }
            return {
                "edition": str(edition.day),
                "digest": edition.digest,
                "entity": entity,
                "vectors": vectors,
                "content_only": {value: found for value, found in content.items() if found},
            }

        return self._with_edition(answer)

    def similar(
        self, entity: str, value: int | str, k: int = 10, upstream: str | None = None
    ) -> dict[str, Any]:
        """The k entities whose vectors point most nearly the same way. Raises EntityMissing."""
        if entity != "item":
            raise ConfigError(f"similar: only items are indexed; received the entity {entity!r}.")
        name = self._embedding(upstream, "item")

        def answer(edition: Edition) -> dict[str, Any]:
            vector = self._point(edition, name, value)
            if vector is None:
                raise _missing("item", [value], edition)
            found = [
                near
                for near in self._search(edition, name, vector, k + 1)
                if key_of(near.id) != key_of(value)
            ][:k]
            return self._answer(edition, name, value, found)

        return self._with_edition(answer)

    def retrieve(
        self,
        user: int | str,
        k: int = 10,
        upstream: str | None = None,
        where: Sequence[str] = (),
        exclude: Iterable[int | str] = (),
        only: Iterable[int | str] | None = None,
        unseen: bool = False,
    ) -> dict[str, Any]:
        """The k items with the highest score for a user, in one upstream's space: the cosine or,
        with `retrieval.prior`, cosine / temperature + weight * log popularity.

        Of those items that fulfil every condition of `where` (`category=3`, `price<=10`: columns of
        the item table; of several `=` on one column, one is enough), are among `only`, and not
        among `exclude` nor, with `unseen`, beside the user in the log. Filtered answers are exact:
        k of them wherever k items are eligible. Raises EntityMissing, ConfigError, LogError.
        """
        chosen = upstream or self.config.retrieval_upstream()
        name, item = self._embedding(chosen, "user"), self._embedding(chosen, "item")

        wanted = Wanted(
            user, tuple(where), tuple(exclude), None if only is None else tuple(only), unseen
        )

        def answer(edition: Edition) -> dict[str, Any]:
            vector = self._point(edition, name, user)
            if vector is None:
                raise _missing("user", [user], edition)
            among = self._eligible(edition, item, wanted)
            return self._answer(
                edition, item, user, self._retrieve(edition, chosen, vector, k, among)
            )

        return self._with_edition(answer)

    def status(self) -> dict[str, Any]:
        """Days done in every lane, editions with their digests and spaces, the live one, pins,
        coverage and freshness.
        """
        while True:
            catalog = read_catalog(self.warehouse)
            try:
                return self._status(catalog)
            except StoreError:
                if (
                    read_catalog(self.warehouse) == catalog
                ):  # else an edition was retired while it was being listed
                    raise

    def _status(self, catalog: Catalog) -> dict[str, Any]:
        live = catalog.live
        editions, days = [], []
        for lane_name, lane in catalog.lanes.items():
            home = home_of(self.warehouse, lane_name)
            for entry in lane.days:
                if lane_name == (live.lane if live else MAIN):
                    days.append(entry.day)
                path = home / "reports" / f"{entry.day}.json"
                coverage = read_json(path).get("coverage", {}) if path.is_file() else {}
                editions.append(
                    {
                        "day": str(entry.day),
                        "lane": lane_name,
                        "digest": entry.digest,
                        "live": live == Live(lane_name, entry),
                        "forced": list(entry.forced),
                        "pinned_by": [
                            name
                            for name, pin in catalog.pins.items()
                            if pin == Live(lane_name, entry)
                        ],
                        "coverage": coverage,
                    }
                    | self._contents(home, entry)
                )
        newest = max(days, default=None)
        return {
            "factory": self.config.name,
            "warehouse": str(self.warehouse),
            "days": [str(day) for day in days],
            "live": str(live.entry.day) if live else None,
            "live_lane": live.lane if live else None,
            "days_behind": (newest - live.entry.day).days if newest and live else None,
            "editions": editions,
            "withdrawn": {
                name: [str(entry.day) for entry in lane.withdrawn]
                for name, lane in catalog.lanes.items()
                if lane.withdrawn
            },
        }

    @staticmethod
    def _contents(home: Path, entry: Entry) -> dict[str, Any]:
        if entry.folder is None:
            return {"rows": {}, "spaces": {}, "segments": {}}
        edition = Edition.load(home / entry.folder)
        return {
            "rows": {name: found["rows"] for name, found in edition.snapshots.items()},
            "spaces": {
                name: str(Space.from_json(found["space"]))
                for name, found in edition.snapshots.items()
            },
            "segments": {name: len(found["segments"]) for name, found in edition.snapshots.items()},
        }

    def _followed(self) -> Live:
        catalog = read_catalog(self.warehouse)
        followed = catalog.pins.get(self.consumer, catalog.live) if self.consumer else catalog.live
        if followed is None:
            raise EditionMissing(
                f"no edition is live in {self.warehouse}. `headwater run` or `backfill` publishes"
                " one."
            )
        return followed

    def _open(self, followed: Live) -> Edition:
        if self._last is None or self._last[0] != followed:
            assert followed.entry.folder is not None
            self._last = (
                followed,
                Edition.load(home_of(self.warehouse, followed.lane) / followed.entry.folder),
            )
        return self._last[1]

    def _with_edition(self, answer: Callable[[Edition], Answer]) -> Answer:
        """Answer from one edition; where it was retired in the midst of an answer, from the one
        that took its place.
        """
        while True:
            followed = self._followed()
            try:
                return answer(self._open(followed))
            except EntityMissing:
                raise
            except (StoreError, SearchError, OSError):
                self._last = None
                if self._followed() == followed:
                    raise

    def _vectors(
        self, edition: Edition, name: str, ids: Sequence[int | str]
    ) -> list[np.ndarray | None]:
        """What is served of each id: its vector [D], or its sequence [steps, D]; None for one that
        is unknown.
        """
        keys_N = _keys(ids)
        online = self._online(edition.home)
        if online is not None:
            return get_served(online, edition, name, keys_N)
        served = edition.lookup(name, keys_N, edition.day)
        rows: list[np.ndarray] = (
            list(served.vectors_ND)
            if served.sequence_NKD is None or served.steps_N is None
            else [
                row[:steps] for row, steps in zip(served.sequence_NKD, served.steps_N, strict=True)
            ]
        )
        return [row if there else None for row, there in zip(rows, served.found_N, strict=True)]

    def _online(self, home: Path) -> OnlineStore | None:
        """The online store of a home, opened once; None where the factory has none."""
        kind = self.config.store.online
        if kind == "none":
            return None
        if home not in self._opened:
            made = resolve("headwater.online", ONLINE_STORES, kind)(home / "online")
            self._opened.setdefault(home, made)
        return self._opened[home]

    def _point(self, edition: Edition, name: str, value: int | str) -> np.ndarray | None:
        (vector,) = self._vectors(edition, name, [value])
        return vector if vector is None or vector.ndim == 1 else vector[0]

    def _search(
        self,
        edition: Edition,
        name: str,
        vector_D: np.ndarray,
        k: int,
        among_M: np.ndarray | None = None,
    ) -> list[Neighbour]:
        part = edition.part(name)
        index = open_index(
            edition.home / "indexes",
            edition.index_name(name),
            part.space,
            part.rows,
            lambda: edition.points(name),
            self.config.index.kind,
        )
        rows, cosines = index.search(vector_D[None, :], k, part.space, among_M)
        hits = rows[0][rows[0] >= 0]
        return _neighbours(part.ids(hits), cosines[0][rows[0] >= 0])

    def _retrieve(
        self,
        edition: Edition,
        upstream: str,
        vector_D: np.ndarray,
        k: int,
        among_M: np.ndarray | None,
    ) -> list[Neighbour]:
        name, prior = f"{upstream}_item", self.config.retrieval.prior
        if prior is None or prior.weight == 0:
            return self._search(edition, name, vector_D, k, among_M)
        part, temperature = edition.part(name), self.config.upstreams[upstream].temperature
        task = self._schema.tasks[self.config.retrieval_task()]

        def folded() -> np.ndarray:
            recent = read_pairs(
                self._events.logs[task.log],
                task,
                edition.day - dt.timedelta(days=prior.days - 1),
                edition.day,
            ).positives
            return fold_items(
                edition.points(name),
                temperature * prior.weight * log_popularity(np.asarray(part.keys), recent.items_M),
            )

        digest = digest_of(
            edition.index_name(name), edition.day, prior.model_dump(), task.name, temperature
        )
        index = open_index(
            edition.home / "indexes",
            digest,
            folded_space(part.space),
            part.rows,
            folded,
            self.config.index.kind,
        )
        rows, cosines = index.search(
            fold_queries(vector_D[None, :]), k, folded_space(part.space), among_M
        )
        hits = rows[0][rows[0] >= 0]
        scores = (
            unfold(cosines[0][rows[0] >= 0], index.vectors(np.zeros(1, np.int64))[0]) / temperature
        )
        return _neighbours(part.ids(hits), scores)

    def _eligible(self, edition: Edition, name: str, wanted: Wanted) -> np.ndarray | None:
        """Rows of the snapshot that may be answered, ascending; None: all of them."""
        if not (wanted.where or wanted.exclude or wanted.unseen) and wanted.only is None:
            return None
        keys = np.asarray(edition.part(name).keys)
        kept = np.ones(len(keys), bool)
        if wanted.where:
            kept &= np.isin(keys, matching_keys(self._schema.entities["item"], wanted.where))
        if wanted.only is not None:
            kept &= np.isin(keys, _keys(wanted.only))
        kept &= ~np.isin(keys, _keys(wanted.exclude))
        if wanted.unseen:
            log = self._events.logs[self._schema.tasks[self.config.retrieval_task()].log]
            kept &= ~np.isin(keys, items_met(log, wanted.user))
        return np.flatnonzero(kept)

    @cached_property
    def _schema(self) -> Schema:
        return Schema.from_config(self.config, self._root)

    @cached_property
    def _events(self) -> ExampleReader:
        return ExampleReader(
            self._schema, self.config.zone, None, Tombstones.read(self.warehouse).matches
        )

    def _answer(
        self, edition: Edition, name: str, query: int | str, found: list[Neighbour]
    ) -> dict[str, Any]:
        return {
            "edition": str(edition.day),
            "digest": edition.digest,
            "embedding": name,
            "query": str(query),
            "items": [{"id": near.id, "score": near.score} for near in found],
        }

    def _embedding(self, upstream: str | None, entity: str) -> str:
        names = embedding_names(self._raw)
        chosen = upstream or next(iter(self.config.upstreams))
        if f"{chosen}_{entity}" not in names:
            raise ConfigError(
                f"no upstream {chosen!r} with {entity} vectors; embeddings are: {', '.join(names)}."
            )
        return f"{chosen}_{entity}"

    def _expect_entity(self, entity: str) -> None:
        if entity not in self.config.entities:
            raise ConfigError(
                f"no entity named {entity!r}; declared: {', '.join(self.config.entities)}."
            )


def _neighbours(ids: Sequence[int | str], scores: np.ndarray) -> list[Neighbour]:
    return [
        Neighbour(_plain(value), round(float(score), 6))
        for value, score in zip(ids, scores, strict=True)
    ]


def _keys(ids: Sequence[int | str]) -> np.ndarray:
    return np.array([key_of(value) for value in ids], np.uint64)


def _plain(value: int | str) -> int | str:
    number = as_integer(str(value))
    return str(value) if number is None else number


def _missing(entity: str, ids: Sequence[int | str], edition: Edition) -> EntityMissing:
    listed = ", ".join(repr(str(value)) for value in ids)
    return EntityMissing(
        f"no {entity} {listed} in the live edition ({edition.day}): never seen in the logs up to"
        " that day, or expired. Check the id; new ones appear with the next edition."
    )
