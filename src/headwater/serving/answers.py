"""What a reader answers, as values; each says which edition it is from."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.store import Edition


@dataclass(frozen=True)
class Neighbour:
    """One answer of a search: the entity's id and its score, which is the cosine with the query
    unless popularity counts too.
    """

    id: int | str
    score: float


@dataclass(frozen=True)
class Lookup:
    """Vectors of entities by id and embedding: D floats or, under a policy that keeps a sequence, a
    list of such, newest first. `content_only` lists the embeddings that rest on no row yet, by id.
    """

    edition: dt.date
    digest: str
    entity: str
    vectors: Mapping[str, Mapping[str, list[Any]]]
    content_only: Mapping[str, Sequence[str]]

    def as_json(self) -> dict[str, Any]:
        return {
            "edition": str(self.edition),
            "digest": self.digest,
            "entity": self.entity,
            "vectors": {value: dict(found) for value, found in self.vectors.items()},
            "content_only": {value: list(found) for value, found in self.content_only.items()},
        }


@dataclass(frozen=True)
class Found:
    """The items nearest to a query, best first."""

    edition: dt.date
    digest: str
    embedding: str
    query: str
    items: tuple[Neighbour, ...]

    @property
    def ids(self) -> list[int | str]:
        return [near.id for near in self.items]

    def as_json(self) -> dict[str, Any]:
        return {
            "edition": str(self.edition),
            "digest": self.digest,
            "embedding": self.embedding,
            "query": self.query,
            "items": [{"id": near.id, "score": near.score} for near in self.items],
        }


@dataclass(frozen=True)
class EditionStatus:
    """A published day. By snapshot: `rows`, `spaces` and `segments`, none where retention has
    removed it; `coverage` is the share of the day's rows that were served a vector.
    """

    day: dt.date
    lane: str
    digest: str
    live: bool
    forced: tuple[str, ...]
    pinned_by: tuple[str, ...]
    coverage: Mapping[str, float]
    rows: Mapping[str, int]
    spaces: Mapping[str, str]
    segments: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        return {
            "day": str(self.day),
            "lane": self.lane,
            "digest": self.digest,
            "live": self.live,
            "forced": list(self.forced),
            "pinned_by": list(self.pinned_by),
            "coverage": dict(self.coverage),
            "rows": dict(self.rows),
            "spaces": dict(self.spaces),
            "segments": dict(self.segments),
        }


@dataclass(frozen=True)
class Status:
    """A warehouse at a glance: the `days` done in the live lane, every lane's editions, the days
    that were `withdrawn`, and how many days the live edition is behind the newest.
    """

    factory: str
    warehouse: str
    days: tuple[dt.date, ...]
    live: dt.date | None
    live_lane: str | None
    days_behind: int | None
    editions: tuple[EditionStatus, ...]
    withdrawn: Mapping[str, Sequence[dt.date]]

    def as_json(self) -> dict[str, Any]:
        return {
            "factory": self.factory,
            "warehouse": self.warehouse,
            "days": [str(day) for day in self.days],
            "live": str(self.live) if self.live else None,
            "live_lane": self.live_lane,
            "days_behind": self.days_behind,
            "editions": [edition.as_json() for edition in self.editions],
            "withdrawn": {lane: list(map(str, days)) for lane, days in self.withdrawn.items()},
        }


def found_in(edition: Edition, name: str, query: int | str, items: Sequence[Neighbour]) -> Found:
    """An answer from an edition's snapshot `name`."""
    return Found(edition.day, edition.digest, name, str(query), tuple(items))
