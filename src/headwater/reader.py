"""Reader: what a service needs of a factory, and nothing that trains: vectors, neighbours, retrieval, status. No torch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater.config import FactoryConfig, embedding_names, load_config, warehouse_of
from headwater.embeddings import Snapshot
from headwater.errors import ConfigError, EditionMissing, EntityMissing
from headwater.files import read_json
from headwater.ids import as_integer, key_of
from headwater.index import open_index
from headwater.plugins import resolve
from headwater.store import ONLINE_STORES, Edition, EditionStore, OnlineStore


@dataclass(frozen=True)
class Neighbour:
    """One answer of a search: the entity's id and its cosine with the query."""

    id: int | str
    score: float


class Reader:
    """Answers from the live edition. Every call reads the pointer once, so an answer never mixes two editions."""

    def __init__(self, config: FactoryConfig, root: Path) -> None:
        self.config = config
        self.warehouse = warehouse_of(config, root)
        self.store = EditionStore(self.warehouse)
        self._raw = config.model_dump()

    @classmethod
    def load(cls, path: str | Path) -> Reader:
        """From a `factory.yaml`. Raises ConfigError."""
        path = Path(path)
        return cls(load_config(path), path.resolve().parent)

    def lookup(self, entity: str, ids: Sequence[int | str]) -> dict[str, Any]:
        """Every upstream's vector of each entity: {"edition", "vectors": {id: {embedding: [D floats]}}}.

        Raises EntityMissing, naming all ids that the edition does not know; then there is no vector at all.
        """
        self._expect_entity(entity)
        edition = self.store.live()
        names = [name for name in edition.snapshots if edition.snapshots[name]["entity"] == entity]
        vectors: dict[str, dict[str, list[float]]] = {}
        for value in ids:
            found = {name: self._vector(edition, name, value) for name in names}
            vectors[str(value)] = {name: vector.tolist() for name, vector in found.items() if vector is not None}
        unknown = [value for value, found in vectors.items() if not found]
        if unknown:
            raise _missing(entity, unknown, edition)
        return {"edition": str(edition.day), "digest": edition.digest, "entity": entity, "vectors": vectors}

    def similar(self, entity: str, value: int | str, k: int = 10, upstream: str | None = None) -> dict[str, Any]:
        """The k entities whose vectors point most nearly the same way. Raises EntityMissing."""
        if entity != "item":
            raise ConfigError(f"similar: only items are indexed; received the entity {entity!r}.")
        edition = self.store.live()
        name = self._embedding(upstream, "item")
        vector = self._vector(edition, name, value)
        if vector is None:
            raise _missing("item", [value], edition)
        found = [near for near in self._search(edition, name, vector, k + 1) if key_of(near.id) != key_of(value)][:k]
        return self._answer(edition, name, value, found)

    def retrieve(self, user: int | str, k: int = 10, upstream: str | None = None) -> dict[str, Any]:
        """The k items whose vectors are nearest to the user's, in one upstream's space. Raises EntityMissing."""
        edition = self.store.live()
        name = self._embedding(upstream, "user")
        vector = self._vector(edition, name, user)
        if vector is None:
            raise _missing("user", [user], edition)
        item = self._embedding(upstream, "item")
        return self._answer(edition, item, user, self._search(edition, item, vector, k))

    def status(self) -> dict[str, Any]:
        """Days done, editions with their digests and spaces, the live one, coverage and freshness."""
        reports = {path.stem: read_json(path) for path in sorted((self.warehouse / "reports").glob("????-??-??.json"))}
        try:
            live: Edition | None = self.store.live()
        except EditionMissing:
            live = None
        editions = []
        for day in self.store.days():
            edition = self.store.get(day)
            editions.append({
                "day": str(day), "digest": edition.digest, "live": live is not None and day == live.day,
                "rows": {name: entry["rows"] for name, entry in edition.snapshots.items()},
                "spaces": {name: str(edition.space(name)) for name in edition.snapshots},
                "coverage": reports.get(str(day), {}).get("coverage", {}),
            })  # fmt: skip
        newest = max(reports, default=None)
        behind = (dt.date.fromisoformat(newest) - live.day).days if newest and live else None
        return {"factory": self.config.name, "warehouse": str(self.warehouse), "days": sorted(reports),
                "live": str(live.day) if live else None, "days_behind": behind, "editions": editions}  # fmt: skip

    def _vector(self, edition: Edition, name: str, value: int | str) -> np.ndarray | None:
        kind = self.config.store.online
        if kind == "none":
            snapshot = edition.read(name)
            rows, found = snapshot.find(np.array([key_of(value)], np.uint64))
            return snapshot.vectors_ND[rows[0]] if found[0] else None
        online: OnlineStore = resolve("headwater.online", ONLINE_STORES, kind)(self.warehouse / "online")
        return online.get(edition.snapshots[name]["digest"], key_of(value))

    def _search(self, edition: Edition, name: str, vector_D: np.ndarray, k: int) -> list[Neighbour]:
        snapshot = edition.read(name)
        index = open_index(self.warehouse / "indexes", snapshot, self.config.index.kind)
        rows, cosines = index.search(vector_D[None, :], k, snapshot.space)
        return [Neighbour(_plain(snapshot, int(row)), round(float(cosine), 6)) for row, cosine in zip(rows[0], cosines[0], strict=True) if row >= 0]

    def _answer(self, edition: Edition, name: str, query: int | str, found: list[Neighbour]) -> dict[str, Any]:
        return {"edition": str(edition.day), "digest": edition.digest, "embedding": name, "query": str(query),
                "items": [{"id": near.id, "score": near.score} for near in found]}  # fmt: skip

    def _embedding(self, upstream: str | None, entity: str) -> str:
        names = embedding_names(self._raw)
        chosen = upstream or next(iter(self.config.upstreams))
        if f"{chosen}_{entity}" not in names:
            raise ConfigError(f"no upstream {chosen!r} with {entity} vectors; embeddings are: {', '.join(names)}.")
        return f"{chosen}_{entity}"

    def _expect_entity(self, entity: str) -> None:
        if entity not in self.config.entities:
            raise ConfigError(f"no entity named {entity!r}; declared: {', '.join(self.config.entities)}.")


def _plain(snapshot: Snapshot, row: int) -> int | str:
    value = snapshot.ids[row]
    number = as_integer(str(value))
    return str(value) if number is None else number


def _missing(entity: str, ids: Sequence[int | str], edition: Edition) -> EntityMissing:
    listed = ", ".join(repr(str(value)) for value in ids)
    return EntityMissing(f"no {entity} {listed} in the live edition ({edition.day}): never seen in the logs up to that day, or expired. "
                         "Check the id; new ones appear with the next edition.")  # fmt: skip
