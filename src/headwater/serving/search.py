"""Searches over one edition: neighbours, and retrieval with filters and a popularity prior."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from headwater.config import PriorConfig
from headwater.digests import digest_of
from headwater.events import ExampleReader
from headwater.events.pairs import items_met, known_after_of, read_pairs
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
from headwater.models.upstream import plan_of
from headwater.schema import Task
from headwater.serving.answers import Neighbour
from headwater.store import Edition
from headwater.store.reports import training_of
from headwater.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """Which items may be retrieved for a user. `only`: None for no such list."""

    user: int | str
    where: tuple[str, ...]
    exclude: tuple[int | str, ...]
    only: tuple[int | str, ...] | None
    unseen: bool

    @property
    def everything(self) -> bool:
        return not (self.where or self.exclude or self.unseen) and self.only is None


class Search:
    """Answers from whatever edition it is given; what it reads of the declared data is kept."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kind = workspace.config.index.kind
        self._temperatures: dict[tuple[str, str], float] = {}

    def near(
        self,
        edition: Edition,
        name: str,
        vector_D: np.ndarray,
        k: int,
        among_M: np.ndarray | None = None,
    ) -> list[Neighbour]:
        """The k rows of a snapshot (of those `among_M`) that point most nearly the same way."""
        part = edition.part(name)
        index = open_index(
            edition.layout.indexes,
            edition.index_name(name),
            part.space,
            part.rows,
            partial(edition.points, name),
            self._kind,
        )
        rows, cosines = index.search(vector_D[None, :], k, part.space, among_M)
        hits = rows[0][rows[0] >= 0]
        return _neighbours(part.ids(hits), cosines[0][rows[0] >= 0])

    def retrieve(
        self, edition: Edition, upstream: str, vector_D: np.ndarray, k: int, wanted: Wanted
    ) -> list[Neighbour]:
        """The k items with the highest score for a user's vector, of those that are wanted."""
        name, prior = f"{upstream}_item", self._workspace.config.retrieval.prior
        among = self._eligible(edition, name, wanted)
        if prior is None or prior.weight == 0:
            return self.near(edition, name, vector_D, k, among)
        return self._popular(edition, upstream, vector_D, k, among, prior)

    def _popular(
        self,
        edition: Edition,
        upstream: str,
        vector_D: np.ndarray,
        k: int,
        among_M: np.ndarray | None,
        prior: PriorConfig,
    ) -> list[Neighbour]:
        """By cosine / temperature + weight * log popularity: an index over vectors with one more
        number, which holds each item's popularity.
        """
        name = f"{upstream}_item"
        part, task = edition.part(name), self._task
        temperature = self._temperature(edition, upstream)
        wait_s = known_after_of(self._workspace.schema, task)
        made_of = [edition.day, prior.model_dump(), task.name, temperature]
        identity = digest_of(edition.index_name(name), *made_of, *([wait_s] if wait_s else []))

        def folded() -> np.ndarray:
            first = edition.day - dt.timedelta(days=prior.days - 1)
            pairs = read_pairs(self._events.logs[task.log], task, first, edition.day, wait_s)
            recent = pairs.known_by(edition.day).positives
            popularity = log_popularity(np.asarray(part.keys), recent.items_M)
            return fold_items(edition.points(name), temperature * prior.weight * popularity)

        space = folded_space(part.space)
        index = open_index(edition.layout.indexes, identity, space, part.rows, folded, self._kind)
        rows, cosines = index.search(fold_queries(vector_D[None, :]), k, space, among_M)
        there = rows[0] >= 0
        length = index.vectors(np.zeros(1, np.int64))[0]
        scores = unfold(cosines[0][there], length) / temperature
        return _neighbours(part.ids(rows[0][there]), scores)

    def _temperature(self, edition: Edition, upstream: str) -> float:
        """What was learnt by that edition's day, else what is declared."""
        known = self._temperatures.get((edition.digest, upstream))
        if known is None:
            plan = plan_of(self._workspace.config, self._workspace.schema, upstream)
            known = plan.temperature_after(training_of(edition.folder, upstream))
            self._temperatures[edition.digest, upstream] = known
        return known

    def _eligible(self, edition: Edition, name: str, wanted: Wanted) -> np.ndarray | None:
        """Rows of the snapshot that may be answered, ascending; None: all of them."""
        if wanted.everything:
            return None
        keys = np.asarray(edition.part(name).keys)
        kept = np.ones(len(keys), bool)
        if wanted.where:
            items = self._workspace.schema.entities["item"]
            kept &= np.isin(keys, matching_keys(items, wanted.where))
        if wanted.only is not None:
            kept &= np.isin(keys, keys_of_ids(wanted.only))
        kept &= ~np.isin(keys, keys_of_ids(wanted.exclude))
        if wanted.unseen:
            kept &= ~np.isin(keys, items_met(self._events.logs[self._task.log], wanted.user))
        return np.flatnonzero(kept)

    @cached_property
    def _events(self) -> ExampleReader:
        return self._workspace.events()

    @property
    def _task(self) -> Task:
        return self._workspace.schema.tasks[self._workspace.config.retrieval_task()]


def keys_of_ids(ids: Sequence[int | str]) -> np.ndarray:
    """uint64 [N]."""
    return np.array([key_of(value) for value in ids], np.uint64)


def _neighbours(ids: Sequence[int | str], scores: np.ndarray) -> list[Neighbour]:
    return [
        Neighbour(_plain(value), round(float(score), 6))
        for value, score in zip(ids, scores, strict=True)
    ]


def _plain(value: int | str) -> int | str:
    number = as_integer(str(value))
    return str(value) if number is None else number
