"""Whether judged rows were served a vector of an entity that did not exist yet when the vector was
made. Shapes: N rows, E entities.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from headwater.embeddings import NEVER_SEEN
from headwater.errors import LogError, StoreError
from headwater.events import ExampleReader, Examples
from headwater.events.moments import MISSING_MOMENT
from headwater.events.times import day_bounds_us
from headwater.store import Edition
from headwater.studies.auditing.findings import Finding
from headwater.workspace import Workspace


@dataclass
class Early:
    """What was found of one kind of entity: `rows` that were served a vector too early, of how many
    `entities`, out of `looked_at`.

    `doubted` are whose table does not tell since when they exist and whose vector rests on no row
    that shows them: keys, how many rows, and the end of the edition's day.
    """

    rows: int = 0
    entities: set[int] = field(default_factory=set)
    looked_at: int = 0
    doubted: list[tuple[np.ndarray, np.ndarray, int]] = field(default_factory=list)

    def add(self, keys_E: np.ndarray, rows_E: np.ndarray) -> None:
        self.rows += int(rows_E.sum())
        self.entities.update(map(int, keys_E))


class EarlyVectors:
    """The judged days' rows beside the editions that they read."""

    def __init__(
        self, workspace: Workspace, reader: ExampleReader, entities: Sequence[str]
    ) -> None:
        self._workspace = workspace
        self._reader = reader
        self._found: Mapping[str, Early] = {entity: Early() for entity in entities}
        self._gone: list[dt.date] = []

    def add(self, day: dt.date, rows: Examples) -> None:
        """A judged day. Raises LogError where an entity's table cannot be read."""
        try:
            edition = self._workspace.served_on(day).edition
            if edition is not None:
                for entity, found in self._found.items():
                    self._look(found, edition, entity, rows.keys[entity], day)
        except (StoreError, OSError):  # retention let it go
            self._gone.append(day)

    def _look(
        self, found: Early, edition: Edition, entity: str, keys_N: np.ndarray, day: dt.date
    ) -> None:
        end_us = day_bounds_us(edition.day, self._reader.zone)[1]
        keys, rows = np.unique(keys_N, return_counts=True)
        served = np.zeros(len(keys), bool)
        unseen = np.ones(len(keys), bool)  # in every snapshot that has a vector
        for name, entry in edition.snapshots.items():
            if entry["entity"] == entity:
                read = edition.lookup(name, keys, day)
                served |= read.found_N
                unseen &= ~read.found_N | (read.age_days_N == NEVER_SEEN)
        since_us = self._reader.table(entity).existence.of(keys)
        told = since_us != MISSING_MOMENT
        early = served & told & (since_us >= end_us)
        found.looked_at += int(rows[served].sum())
        found.add(keys[early], rows[early])
        doubted = served & ~told & unseen
        if doubted.any():
            found.doubted.append((keys[doubted], rows[doubted], end_us))

    def findings(self) -> Iterator[Finding]:
        """One for each kind of entity."""
        for entity, found in self._found.items():
            try:
                self._look_for_doubted(entity, found)
            except LogError as error:
                reason = f"not all was looked at: {error}"
                yield Finding.unchecked(f"entities.{entity}", reason)
            yield _about(entity, found)
        if self._gone:
            reason = (
                f"whether the entities of {len(self._gone)} days existed was not looked at: what"
                " was served then was removed by retention"
            )
            yield Finding.unchecked("entities", reason)

    def _look_for_doubted(self, entity: str, found: Early) -> None:
        """Who is not told of exists from its first sight in any log. Raises LogError."""
        if not found.doubted:
            return
        wanted = np.unique(np.concatenate([keys for keys, _, _ in found.doubted]))
        sights = [
            log.first_sights(entity, wanted)
            for log in self._reader.logs.values()
            if entity in log.log.entities
        ]
        first_us = np.min(sights, axis=0)
        for keys, rows, end_us in found.doubted:
            early = first_us[np.searchsorted(wanted, keys)] >= end_us
            found.add(keys[early], rows[early])


def _about(entity: str, found: Early) -> Finding:
    name = f"entities.{entity}"
    if not found.rows:
        reason = f"{found.looked_at:,} judged rows were served no vector of one that did not exist"
        return Finding.looked_up(name, True, reason)
    reason = (
        f"{found.rows:,} of {found.looked_at:,} judged rows were served a vector that was made"
        f" before their {entity} existed ({len(found.entities):,} {entity}s): it was made of what"
        " nobody knew then"
    )
    return Finding.looked_up(name, False, reason)
