"""Whether a feature of an entity's table knows the judged rows: each numeric one beside what befell
the entities then. Shapes: N rows, E entities, D days, Q quarters of a day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from headwater.evaluation.audit import (
    P_VALUE,
    SHARE,
    Foreknowledge,
    Tally,
    foreknowledge,
    is_leak,
)
from headwater.events.entities import read_table
from headwater.schema import Entity, Numeric, Vector
from headwater.studies.auditing.findings import Finding

ENTITIES = 20_000  # of a table at most; keys are hashes, so the lowest ones are a fair draw
QUARTERS = 4


class EntityCounts:
    """Rows and positives of the entities of a table: of each judged day by quarters, and of the
    days before and after, summed.
    """

    def __init__(self, entity: Entity, days: Sequence[dt.date]) -> None:
        self.entity = entity
        self._days = list(days)
        keys, frame = read_table(entity)
        drawn = keys <= np.uint64(min(1.0, ENTITIES / max(1, len(keys))) * float(2**64 - 2**12))
        self.keys = keys[drawn]
        self._frame = frame.filter(pl.Series(drawn))
        size = len(self.keys)
        self._judged = np.zeros((2, size, len(days), QUARTERS))  # rows, then positives
        self._before = np.zeros((2, size))
        self._after = np.zeros((2, size))

    def values(self, feature: str) -> np.ndarray:
        """A numeric feature as the table has it, float64 [E], NaN where it is no number."""
        numbers = self._frame[feature].cast(pl.Float64, strict=False)
        values_E = numbers.fill_null(float("nan")).to_numpy()
        return np.where(np.isfinite(values_E), values_E, np.nan)

    def add(self, day: dt.date, keys_N: np.ndarray, labels_N: np.ndarray) -> None:
        """A day's rows, by time."""
        if not len(self.keys):
            return
        place_N = np.minimum(np.searchsorted(self.keys, keys_N), len(self.keys) - 1)
        known_N = np.flatnonzero(self.keys[place_N] == keys_N)
        quarter_N = np.arange(len(keys_N)) * QUARTERS // max(1, len(keys_N))
        counts = np.zeros((2, len(self.keys), QUARTERS))
        np.add.at(counts[0], (place_N[known_N], quarter_N[known_N]), 1)
        np.add.at(counts[1], (place_N[known_N], quarter_N[known_N]), labels_N[known_N])
        if day in self._days:
            self._judged[:, :, self._days.index(day)] = counts
        elif day < self._days[0]:
            self._before += counts.sum(axis=2)
        else:
            self._after += counts.sum(axis=2)

    def tallies(self) -> list[Tally]:
        """The first judged day, the first two, four and so on, each beside the days before, for a
        table may end amid the judged days; all of them beside the days after as well.
        """
        whole = len(self._days)
        shorter = [2**n for n in range(10) if 2**n < whole]
        return [
            *(Tally(*self._span(length), *self._before) for length in shorter),
            Tally(*self._span(whole), *(self._before + self._after)),
        ]

    def _span(self, length: int) -> np.ndarray:
        """Rows and positives of the first judged days, [2, E, D]; of one day alone, by its quarters
        [2, E, Q].
        """
        if length == 1:
            return self._judged[:, :, 0]
        return self._judged[:, :, :length].sum(axis=3)


def about_features(counts: Sequence[EntityCounts], entities: Sequence[Entity]) -> Iterator[Finding]:
    """One finding for each numeric feature, and one for each vector, which no test looks into."""
    found: dict[tuple[str, str], list[Foreknowledge]] = {}
    with threadpool_limits(1):  # many small fits: threads would only wait for each other
        for table in counts:
            tallies = table.tallies()
            for feature, kind in table.entity.features.items():
                if isinstance(kind, Numeric):
                    known = foreknowledge(table.values(feature), tallies)
                    found[table.entity.name, feature] = known
    tests = sum(map(len, found.values()))
    for (entity, feature), known in found.items():
        yield _about_feature(entity, f"{entity}.{feature}", known, tests)
    for spec in entities:
        for feature, kind in spec.features.items():
            if isinstance(kind, Vector):
                reason = (
                    "not measured: no test here tells what a vector has seen;"
                    f" entities.{spec.name}.as_of can say of which day it is"
                )
                yield Finding.unchecked(f"{spec.name}.{feature}", reason)


def _about_feature(entity: str, name: str, known: Sequence[Foreknowledge], tests: int) -> Finding:
    """The worst of what a feature seems to know, against what chance explains over all tests."""
    if not known:
        reason = "not measured: too few entities have enough rows, or it has too few values"
        return Finding.unchecked(name, reason)
    worst = max(known, key=lambda one: (is_leak(one, tests), one.share))
    passed = not is_leak(worst, tests)
    reason = (
        f"knows {max(0.0, worst.share):.0%} of the chance in the judged {worst.what} of"
        f" {worst.entities:,} {entity}s (z {worst.z:.1f}); allowed {SHARE:.0%}, or what chance"
        f" explains at p {P_VALUE:g} over {tests} tests"
    )
    if not passed:
        reason += ": it holds judged days"
    return Finding(name, round(worst.share, 4), SHARE, passed, reason)
