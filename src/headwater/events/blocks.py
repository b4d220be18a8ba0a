"""Features as arrays: what a model reads of an entity or of a row's context.

Shape suffixes: N rows, C categorical features, K values of a multi-categorical one, F numbers, D
width of a vector. Slot 0 of every categorical feature means "missing".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from headwater.errors import SchemaError
from headwater.events.times import US_PER_DAY, day_bounds_us, to_us
from headwater.ids import hash_values
from headwater.schema import Categorical, Feature, MultiCategorical, Numeric, Timestamp, Vector

NUMBERS = {
    "cycles": 4,
    "age": 1,
    "recency": 1,
}  # of each reading of a moment; cycles: sine and cosine of the hour, and of the weekday
US_PER_HOUR = 3_600_000_000


@dataclass(frozen=True)
class BlockSpec:
    """Sizes a model needs to read a Block: slots per categorical feature, numbers, vector widths;
    which categorical columns come as hashes for a vocabulary that the model learns (column, least
    count of a new value), and which numbers are read by rank.
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
    """Encoded features of N rows. `moments_NT` (UTC microseconds) become ages when a day is
    named.
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
        """The same with its moments as numbers, each as its kind is read, for events at
        `times_us_N` of `day` (None: at its end).
        """
        if self.moments_NT.shape[1] == 0:
            return self
        midnight, end = day_bounds_us(day, zone)
        then_N = np.full(len(self), end, np.int64) if times_us_N is None else times_us_N
        parts = []
        for kind, moment_N in zip(kinds, self.moments_NT.T, strict=True):
            known_N = moment_N != MISSING_MOMENT
            for reading in readings(kind, context):
                # what an entity's table says of a moment within the day may not have been known at
                # the event
                told_N = known_N & (moment_N <= then_N) & (context | (moment_N < midnight))
                if reading == "cycles":
                    parts.append(
                        np.where(told_N[:, None], _cycles(moment_N, known_N, zone), np.nan)
                    )
                    continue
                passed = (
                    (midnight - moment_N) / US_PER_DAY
                    if reading == "age"
                    else (then_N - moment_N) / US_PER_HOUR
                )
                fits = known_N & (passed >= 0) if reading == "age" else told_N
                size = np.maximum(np.floor(passed) if reading == "age" else passed, 0)
                parts.append(np.where(fits, np.log1p(size), np.nan)[:, None])
        return self.with_numbers(np.hstack(parts))

    def arrays(self) -> list[np.ndarray]:
        return [
            self.categorical_NC,
            *self.multi_NK,
            self.numeric_NF,
            *self.vectors_ND,
            self.moments_NT,
        ]


MISSING_MOMENT = np.iinfo(np.int64).min


def slots(kind: Categorical) -> int:
    """Rows of the embedding table: missing + (other + one per value, or one per bucket)."""
    if kind.vocabulary is not None:
        return 2 + kind.vocabulary
    return 2 + len(kind.values) if kind.values is not None else 1 + kind.buckets


def encode(frame: pl.DataFrame, features: Mapping[str, Feature], where: str, zone: str) -> Block:
    """Encode the columns of `frame`. Raises SchemaError, with every column that is not of its
    declared kind.
    """
    problems: list[str] = []
    parts: dict[str, list[np.ndarray]] = {
        "categorical": [],
        "multi": [],
        "numeric": [],
        "vectors": [],
        "moments": [],
    }
    for name, kind in features.items():
        try:
            if isinstance(kind, Categorical):
                parts["categorical"].append(_categorical(frame[name], kind))
            elif isinstance(kind, MultiCategorical):
                parts["multi"].append(_multi(frame[name], kind))
            elif isinstance(kind, Numeric):
                parts["numeric"].append(_numeric(frame[name], kind))
            elif isinstance(kind, Vector):
                parts["vectors"].append(_vector(frame[name], kind))
            else:
                if not (
                    frame.schema[name].is_temporal()
                    or frame.schema[name].is_numeric()
                    or frame.schema[name] == pl.String
                ):
                    raise ValueError("expected times")
                us = frame.select(to_us(name, frame.schema[name], kind.unit, zone)).to_series()
                parts["moments"].append(us.fill_null(MISSING_MOMENT).to_numpy())
        except (pl.exceptions.PolarsError, ValueError) as error:
            problems.append(
                f"{name}: declared {kind.kind}, holds {frame.schema[name]}"
                f" ({str(error).splitlines()[0]})"
            )
    if problems:
        raise SchemaError(f"{where}: features that are not of their declared kind:", problems)
    n = len(frame)
    return Block(
        _columns(parts["categorical"], n, np.int64),
        tuple(parts["multi"]),
        _columns(parts["numeric"], n, np.float32),
        tuple(parts["vectors"]),
        _columns(parts["moments"], n, np.int64),
    )


def with_missing_row(block: Block) -> Block:
    """Append one row in which everything is missing (what is known of an entity that the table
    lacks).
    """
    return Block(
        np.vstack([block.categorical_NC, np.zeros((1, block.categorical_NC.shape[1]), np.int64)]),
        tuple(
            np.vstack([values, np.zeros((1, values.shape[1]), np.int64)])
            for values in block.multi_NK
        ),
        np.vstack([block.numeric_NF, np.full((1, block.numeric_NF.shape[1]), np.nan, np.float32)]),
        tuple(
            np.vstack([values, np.full((1, values.shape[1]), np.nan, np.float32)])
            for values in block.vectors_ND
        ),
        np.vstack(
            [block.moments_NT, np.full((1, block.moments_NT.shape[1]), MISSING_MOMENT, np.int64)]
        ),
    )


def readings(kind: Timestamp, context: bool) -> tuple[str, ...]:
    """How a moment is read: as it is declared or, by default, of a log's row as cycles, of an
    entity as its age.
    """
    return kind.read or (("cycles",) if context else ("age",))


def moments_in(features: Mapping[str, Feature]) -> list[Timestamp]:
    return [kind for kind in features.values() if isinstance(kind, Timestamp)]


def context_block(
    frame: pl.DataFrame,
    features: Mapping[str, Feature],
    where: str,
    zone: ZoneInfo,
    day: dt.date,
    times_us_N: np.ndarray,
) -> Block:
    """Encode a log's own features, for events at `times_us_N` of `day`."""
    return encode(frame, features, where, zone.key).read_moments(
        moments_in(features), True, day, times_us_N, zone
    )


def _cycles(moment_N: np.ndarray, known_N: np.ndarray, zone: ZoneInfo) -> np.ndarray:
    """Sine and cosine of the local hour and of the weekday, [N, 4]."""
    local = (
        pl.Series(np.where(known_N, moment_N, 0))
        .cast(pl.Datetime("us"))
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(zone.key)
    )
    hour = local.dt.hour().to_numpy() + local.dt.minute().to_numpy() / 60
    turns = (hour / 24, (local.dt.weekday().to_numpy() - 1) / 7)
    return np.stack([wave(2 * np.pi * turn) for turn in turns for wave in (np.sin, np.cos)], axis=1)


def codes(column: pl.Series, kind: Categorical | MultiCategorical) -> np.ndarray:
    """A categorical feature's values as int64 codes [N, K], 0 for none: equal values have equal
    codes, whatever the buckets.
    """
    if isinstance(kind, Categorical):
        return hash_values(_as_values(column), seed=0).view(np.int64)[:, None]
    rows, positions, values = _flat(column, kind)
    out = np.zeros((len(column), kind.length), np.int64)
    out[rows, positions] = hash_values(values, seed=0).view(np.int64)
    return out


def _columns(parts: list[np.ndarray], n: int, dtype: type) -> np.ndarray:
    return np.stack(parts, axis=1).astype(dtype) if parts else np.zeros((n, 0), dtype)


def _categorical(column: pl.Series, kind: Categorical) -> np.ndarray:
    if kind.values is not None:
        slot_of = {str(value): position + 2 for position, value in enumerate(kind.values)}
        column = _as_values(column)
        mapped = column.cast(pl.String).replace_strict(slot_of, default=1, return_dtype=pl.Int64)
        return pl.select(pl.when(column.is_null()).then(0).otherwise(mapped)).to_series().to_numpy()
    hashes = hash_values(_as_values(column), seed=0)
    return hashes.view(np.int64) if kind.vocabulary is not None else _bucket(hashes, kind.buckets)


def _as_values(column: pl.Series) -> pl.Series:
    """A categorical column so that equal values are equal whatever file they came in: an integer
    column with gaps, which pandas writes as floats, as integers again (2.0 is 2, NaN is missing).
    """
    if not column.dtype.is_float():
        return column
    values = column.fill_nan(None)
    whole = (values == values.round()) & (values.abs() < 2**63)
    if (whole | values.is_null()).all():
        return values.cast(pl.Int64)
    return pl.select(
        pl.when(whole)
        .then(values.cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(values.cast(pl.String))
    ).to_series()


def _bucket(hashes: np.ndarray, buckets: int) -> np.ndarray:
    return np.where(hashes == 0, 0, 1 + (hashes % np.uint64(buckets)).astype(np.int64))


def _flat(column: pl.Series, kind: MultiCategorical) -> tuple[np.ndarray, np.ndarray, pl.Series]:
    """Row, position in its cell, and value of every value that is read."""
    lists = (
        column.cast(pl.String).str.split(kind.separator) if column.dtype == pl.String else column
    )
    if not isinstance(lists.dtype, pl.List):
        raise ValueError("expected lists, or text with separators")
    flat = pl.DataFrame({"row": np.arange(len(lists)), "value": lists}).explode("value")
    flat = flat.with_columns(_as_values(flat["value"]).cast(pl.String))
    flat = flat.with_columns(pl.col("value").str.strip_chars()).filter(
        pl.col("value").is_not_null() & (pl.col("value") != "")
    )
    flat = flat.with_columns(position=pl.int_range(pl.len()).over("row")).filter(
        pl.col("position") < kind.length
    )
    return flat["row"].to_numpy(), flat["position"].to_numpy(), flat["value"]


def _multi(column: pl.Series, kind: MultiCategorical) -> np.ndarray:
    rows, positions, values = _flat(column, kind)
    out = np.zeros((len(column), kind.length), np.int64)
    out[rows, positions] = _bucket(hash_values(values, seed=0), kind.buckets)
    return out


def _numeric(column: pl.Series, kind: Numeric) -> np.ndarray:
    if column.dtype not in (pl.String, pl.Boolean) and not column.dtype.is_numeric():
        raise ValueError("expected numbers")
    values = column.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    if (
        column.dtype == pl.String
        and np.isnan(values).all()
        and (known := column.drop_nulls().str.strip_chars().filter(column.drop_nulls() != "")).len()
    ):
        raise ValueError(f"expected numbers, received text such as {known[0]!r}")
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(over="ignore"):
        out = (np.sign(values) * np.log1p(np.abs(values)) if kind.log else values).astype(
            np.float32
        )
    return np.where(
        np.isfinite(out), out, np.float32("nan")
    )  # a number that float32 cannot hold is as good as missing


def _vector(column: pl.Series, kind: Vector) -> np.ndarray:
    values = column.cast(pl.List(pl.Float32))
    widths = values.list.len().drop_nulls().unique().to_list()
    if widths not in ([kind.width], []):
        raise ValueError(f"expected {kind.width} numbers, received {widths}")
    out = np.full((len(column), kind.width), np.nan, np.float32)
    present = column.is_not_null().to_numpy()
    out[present] = values.drop_nulls().explode().to_numpy().reshape(-1, kind.width)
    return np.where(np.isfinite(out), out, np.nan)
