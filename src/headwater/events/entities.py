"""Entity tables: one row per entity, encoded once, gathered by id."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.errors import LogError
from headwater.events.blocks import Block, with_missing_row
from headwater.events.encoding import codes, encode
from headwater.events.moments import MISSING_MOMENT, moments_in
from headwater.events.tables import collect, matching_files, scan
from headwater.events.times import to_us
from headwater.ids import is_id, keys_of
from headwater.schema import Categorical, Entity, MultiCategorical


def read_table(entity: Entity) -> tuple[np.ndarray, pl.DataFrame]:
    """Keys, ascending, of an entity's table and, beside each, its row.

    A row is the key, the features and `exists_from` as they stand there. Raises LogError.
    """
    assert entity.key is not None
    what = f"entity {entity.name}"
    wanted = (entity.key, *entity.features, *([entity.exists_from] if entity.exists_from else []))
    frames = [
        collect(scan(file, wanted, what), file, what) for file in matching_files(entity.paths, what)
    ]
    frame = pl.concat(frames, how="vertical_relaxed")
    if not is_id(frame.schema[entity.key]):
        raise LogError(
            f"{what}: its key {entity.key!r} holds {frame.schema[entity.key]}; ids are strings or"
            " 64-bit integers."
        )
    if frame[entity.key].null_count():
        raise LogError(
            f"{what}: {frame[entity.key].null_count():,} rows of its table have no {entity.key!r}."
        )
    keys = keys_of(frame[entity.key])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    repeated = np.flatnonzero(keys[1:] == keys[:-1])
    if len(repeated):
        example = frame[entity.key][int(order[repeated[0]])]
        raise LogError(
            f"{what}: {len(repeated):,} ids stand twice in its table (such as {example!r}); an"
            " entity table has one row per id."
        )
    return keys, frame[order]


@dataclass(frozen=True)
class Existence:
    """From when the entities of a table exist, as it tells: `keys_T` ascending, and beside each a
    moment in UTC microseconds (MISSING_MOMENT: it tells nothing that can be read).
    """

    keys_T: np.ndarray
    moments_us_T: np.ndarray

    def of(self, keys_N: np.ndarray) -> np.ndarray:
        """The moment of each key, [N]; MISSING_MOMENT where none is told."""
        if len(self.keys_T) == 0:
            return np.full(len(keys_N), MISSING_MOMENT)
        spots_N = np.minimum(np.searchsorted(self.keys_T, keys_N), len(self.keys_T) - 1)
        there_N = self.keys_T[spots_N] == keys_N
        return np.where(there_N, self.moments_us_T[spots_N], MISSING_MOMENT)

    def to_come(self, end_us: int) -> np.ndarray:
        """Keys, ascending, of those that do not exist before a moment."""
        return self.keys_T[self.moments_us_T >= end_us]

    @property
    def untold(self) -> int:
        """Of how many the table tells nothing that can be read."""
        return int((self.moments_us_T == MISSING_MOMENT).sum())


def _existence(entity: Entity, keys_T: np.ndarray, frame: pl.DataFrame, zone: str) -> Existence:
    if entity.exists_from is None:
        return Existence(keys_T[:0], np.zeros(0, np.int64))
    column = frame[entity.exists_from]
    told = to_us(entity.exists_from, column.dtype, entity.exists_unit, zone)
    moments = column.to_frame().select(told).to_series().fill_null(MISSING_MOMENT)
    return Existence(keys_T, moments.to_numpy())


class EntityTable:
    """The features of all entities of one kind, and from when they exist.

    An entity that the table lacks has every feature missing.
    """

    def __init__(self, entity: Entity, zone: ZoneInfo) -> None:
        self.entity = entity
        self._zone = zone
        what = f"entity {entity.name}"
        self.keys = np.zeros(0, np.uint64)
        self.ids = pl.Series("key", [], dtype=pl.Int64)
        self._texts: dict[str, tuple[pl.Series, Categorical | MultiCategorical]] = {}
        self.existence = Existence(self.keys, np.zeros(0, np.int64))
        wanted = bool(entity.features) or entity.exists_from is not None
        if not entity.paths or not wanted or entity.key is None:
            self._block = with_missing_row(encode(pl.DataFrame({"key": []}), {}, what, zone.key))
        else:
            self.keys, frame = read_table(entity)
            self._block = with_missing_row(encode(frame, entity.features, what, zone.key))
            self.existence = _existence(entity, self.keys, frame, zone.key)
            if len(self.keys):
                self.ids = frame[entity.key]
                self._texts = {
                    name: (frame[name], kind)
                    for name, kind in entity.features.items()
                    if isinstance(kind, Categorical | MultiCategorical)
                }
        self._codes: dict[str, np.ndarray] = {}

    def gather(
        self, keys_N: np.ndarray, day: dt.date, times_us_N: np.ndarray | None = None
    ) -> Block:
        """What is known of each of `keys_N` on `day`, at the event's time.

        Without times, it is what is known at the end of the day.
        """
        block = self._block.take(self._rows(keys_N))
        return block.read_moments(
            moments_in(self.entity.features), False, day, times_us_N, self._zone
        )

    def codes(self, feature: str, keys_N: np.ndarray) -> np.ndarray:
        """A categorical feature of some entities, [N, K]: equal values have equal codes, 0 is none.

        `id` is the entity itself.
        """
        if feature == "id":
            return keys_N.view(np.int64)[:, None]
        if feature not in self._codes:
            found = np.zeros((0, 1), np.int64)
            if feature in self._texts:
                found = codes(*self._texts[feature])
            self._codes[feature] = np.vstack([found, np.zeros((1, found.shape[1]), np.int64)])
        return self._codes[feature][self._rows(keys_N)]

    def _rows(self, keys_N: np.ndarray) -> np.ndarray:
        """The row of each key; that of `nothing is known` where the table lacks it."""
        missing = len(self.keys)
        if missing == 0:
            return np.zeros(len(keys_N), np.int64)
        spots = np.minimum(np.searchsorted(self.keys, keys_N), missing - 1)
        return np.where(self.keys[spots] == keys_N, spots, missing)
