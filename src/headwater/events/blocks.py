"""Features as arrays: what a model reads of an entity or of a row's context.

Shape suffixes: N rows, C categorical features, K values of a multi-categorical one, F numbers, D
width of a vector, T moments.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from headwater.events.moments import MISSING_MOMENT, NUMBERS, moment_numbers, readings
from headwater.schema import Categorical, Feature, MultiCategorical, Numeric, Timestamp, Vector


@dataclass(frozen=True)
class BlockSpec:
    """Sizes a model needs to read a Block: slots per categorical feature, numbers, vector widths.

    `learned` are the categorical columns that come as hashes for a vocabulary that the model learns
    (column, least count of a new value), `ranked` the numbers that are read by rank.
    """

    categorical: tuple[int, ...]
    multi: tuple[int, ...]
    numeric: int
    vectors: tuple[int, ...]
    learned: tuple[tuple[int, int], ...] = ()
    ranked: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, features: Mapping[str, Feature], *, context: bool = False, pairs: int = 0
    ) -> BlockSpec:
        """`pairs`: numbers of the pair that come after all others (see `pair_numbers`)."""
        kinds = list(features.values())
        categorical = [kind for kind in kinds if isinstance(kind, Categorical)]
        numeric = [kind for kind in kinds if isinstance(kind, Numeric)]
        moments = sum(
            NUMBERS[reading]
            for kind in kinds
            if isinstance(kind, Timestamp)
            for reading in readings(kind, context)
        )
        return cls(
            categorical=tuple(slots(kind) for kind in categorical),
            multi=tuple(kind.buckets + 1 for kind in kinds if isinstance(kind, MultiCategorical)),
            numeric=len(numeric) + moments + pairs,
            vectors=tuple(kind.width for kind in kinds if isinstance(kind, Vector)),
            learned=tuple(
                (column, kind.min_count)
                for column, kind in enumerate(categorical)
                if kind.vocabulary is not None
            ),
            ranked=tuple(column for column, kind in enumerate(numeric) if kind.scale == "quantile"),
        )


@dataclass(frozen=True)
class Block:
    """Encoded features of N rows.

    Slot 0 of every categorical feature means missing, as does NaN of a number or a vector.
    `moments_NT` (UTC microseconds) become numbers when a day is named.
    """

    categorical_NC: np.ndarray
    multi_NK: tuple[np.ndarray, ...]
    numeric_NF: np.ndarray
    vectors_ND: tuple[np.ndarray, ...]
    moments_NT: np.ndarray

    def __len__(self) -> int:
        return len(self.categorical_NC)

    def take(self, rows_N: np.ndarray) -> Block:
        return Block(
            self.categorical_NC[rows_N],
            tuple(values[rows_N] for values in self.multi_NK),
            self.numeric_NF[rows_N],
            tuple(values[rows_N] for values in self.vectors_ND),
            self.moments_NT[rows_N],
        )

    def with_numbers(self, numbers_NF: np.ndarray) -> Block:
        """The same with further numbers after its own, and its moments gone."""
        numeric = np.hstack([self.numeric_NF, numbers_NF.astype(np.float32)])
        return Block(
            self.categorical_NC, self.multi_NK, numeric, self.vectors_ND, self.moments_NT[:, :0]
        )

    def read_moments(
        self,
        kinds: Sequence[Timestamp],
        context: bool,
        day: dt.date,
        times_us_N: np.ndarray | None,
        zone: ZoneInfo,
    ) -> Block:
        """The same with its moments as numbers, each as its kind is read.

        Events are at `times_us_N` of `day` (None: at its end).
        """
        if self.moments_NT.shape[1] == 0:
            return self
        numbers_NF = moment_numbers(self.moments_NT, kinds, context, day, times_us_N, zone)
        return self.with_numbers(numbers_NF)

    def arrays(self) -> list[np.ndarray]:
        return [
            self.categorical_NC,
            *self.multi_NK,
            self.numeric_NF,
            *self.vectors_ND,
            self.moments_NT,
        ]


def slots(kind: Categorical) -> int:
    """Rows of the embedding table: missing + (other + one per value, or one per bucket)."""
    if kind.vocabulary is not None:
        return 2 + kind.vocabulary
    return 2 + len(kind.values) if kind.values is not None else 1 + kind.buckets


def with_missing_row(block: Block) -> Block:
    """Append one row in which everything is missing: of an entity that the table lacks."""
    return Block(
        _appended(block.categorical_NC, 0),
        tuple(_appended(values, 0) for values in block.multi_NK),
        _appended(block.numeric_NF, np.nan),
        tuple(_appended(values, np.nan) for values in block.vectors_ND),
        _appended(block.moments_NT, MISSING_MOMENT),
    )


def _appended(values: np.ndarray, value: float) -> np.ndarray:
    """The array with one more row, all of `value`."""
    return np.vstack([values, np.full((1, values.shape[1]), value, values.dtype)])
