"""Features as they stand in the data, as Arrow columns.

For models that encode them in their own way. Shape suffixes: N rows, D width of a vector.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import SchemaError
from headwater.events.entities import read_table
from headwater.events.tables import matching_files, scan
from headwater.events.times import day_bounds_us, to_us
from headwater.schema import (
    Categorical,
    Entity,
    Feature,
    Log,
    MultiCategorical,
    Numeric,
    Timestamp,
    Vector,
)

MOMENT = pa.timestamp("us", tz="UTC")
_PLAIN = {
    pa.int64(): pl.Int64(),
    pa.uint64(): pl.UInt64(),
    pa.float64(): pl.Float64(),
    pa.bool_(): pl.Boolean(),
    pa.string(): pl.String(),
}


def plain_type(dtypes: Sequence[pl.DataType]) -> pa.DataType:
    """What ids and categories are written as.

    Integers, numbers or truth values where every file has them so, else text.
    """
    if all(dtype == pl.UInt64 for dtype in dtypes):
        return pa.uint64()
    if all(dtype.is_integer() for dtype in dtypes):
        return pa.int64()
    if all(dtype.is_numeric() for dtype in dtypes):
        return pa.float64()
    return pa.bool_() if all(dtype == pl.Boolean for dtype in dtypes) else pa.string()


def feature_type(kind: Feature, dtypes: Sequence[pl.DataType]) -> pa.DataType:
    """What a feature is written as.

    Numbers as float64, moments in UTC, several values as a list of text, vectors of fixed width.
    """
    if isinstance(kind, Categorical):
        return plain_type(dtypes)
    if isinstance(kind, Numeric):
        return pa.float64()
    if isinstance(kind, MultiCategorical):
        return pa.list_(pa.string())
    return pa.list_(pa.float32(), kind.width) if isinstance(kind, Vector) else MOMENT


def log_types(log: Log) -> dict[str, list[pl.DataType]]:
    """The types that each column of a log has, in all of its files. Raises LogError."""
    what = f"log {log.name}"
    schemas = [
        scan(file, log.columns, what).collect_schema() for file in matching_files(log.paths, what)
    ]
    return {column: [schema[column] for schema in schemas] for column in log.columns}


def plain_array(column: pl.Series, kept_as: pa.DataType) -> pa.Array:
    """Ids or categories, as `plain_type` says."""
    return _arrow(column.cast(_PLAIN[kept_as]), kept_as)


def feature_array(
    column: pl.Series, kind: Feature, kept_as: pa.DataType, zone: ZoneInfo, where: str
) -> pa.Array:
    """A feature, as `feature_type` says; null where it is missing or no finite number.

    Raises SchemaError where it is not of its kind.
    """
    try:
        if isinstance(kind, Categorical):
            return plain_array(column, kept_as)
        if isinstance(kind, Vector):
            return _vectors(column, kind)
        if isinstance(kind, Numeric):
            return _arrow(_finite(column), kept_as)
        if isinstance(kind, MultiCategorical):
            return _arrow(_lists(column, kind), kept_as)
        return _arrow(_moments(column, kind, zone), kept_as)
    except pl.exceptions.PolarsError as error:
        problem = (
            f"{column.name}: declared {kind.kind}, holds {column.dtype}"
            f" ({str(error).splitlines()[0]})"
        )
        raise SchemaError(
            f"{where}: features that are not of their declared kind:", [problem]
        ) from error


def _finite(column: pl.Series) -> pl.Series:
    numbers = column.cast(pl.Float64, strict=False)
    return pl.select(pl.when(numbers.is_finite()).then(numbers)).to_series()


def _lists(column: pl.Series, kind: MultiCategorical) -> pl.Series:
    if column.dtype == pl.String:
        lists = column.str.split(kind.separator)
    else:
        lists = column.cast(pl.List(pl.String))
    stripped = lists.list.eval(pl.element().str.strip_chars())
    return stripped.list.eval(pl.element().filter(pl.element() != ""))


def _vectors(column: pl.Series, kind: Vector) -> pa.Array:
    vectors_ND = np.full((len(column), kind.width), np.nan, np.float32)
    there_N = column.is_not_null().to_numpy()
    if there_N.any():
        lists = column.drop_nulls().cast(pl.List(pl.Float32))
        vectors_ND[there_N] = lists.list.to_array(kind.width).to_numpy()
    return vector_array(vectors_ND, np.isnan(vectors_ND))


def _moments(column: pl.Series, kind: Timestamp, zone: ZoneInfo) -> pl.Series:
    us = to_us("moment", column.dtype, kind.unit, zone.key)
    moments = pl.DataFrame({"moment": column}).select(us).to_series()
    return moments.cast(pl.Datetime("us", "UTC"))


def vector_array(vectors_ND: np.ndarray, absent_ND: np.ndarray) -> pa.Array:
    """Vectors of fixed width, with nulls *in* an absent one.

    Arrow before 26 cannot read Parquet in which a fixed-width list itself is null
    (apache/arrow#35692), and so all rows flatten to N x D numbers.
    """
    flat = np.ascontiguousarray(vectors_ND, np.float32).reshape(-1)
    width = vectors_ND.shape[1]
    values = pa.array(flat, mask=absent_ND.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, type=pa.list_(pa.float32(), width))


def _arrow(column: pl.Series, kept_as: pa.DataType) -> pa.Array:
    return column.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(kept_as)


class RawTable:
    """The features of all entities of one kind as their table has them."""

    def __init__(self, entity: Entity, zone: ZoneInfo) -> None:
        """Raises LogError, SchemaError."""
        self._zone = zone
        self._keys, frame = read_table(entity)
        self.types = {
            name: feature_type(kind, [frame.schema[name]]) for name, kind in entity.features.items()
        }
        nothing = frame.clear(1)  # what is known of an entity that the table lacks
        self._columns = {
            name: pa.concat_arrays(
                [
                    feature_array(column, kind, self.types[name], zone, f"entity {entity.name}")
                    for column in (frame[name], nothing[name])
                ]
            )
            for name, kind in entity.features.items()
        }

    def gather(self, keys_N: np.ndarray, day: dt.date) -> dict[str, pa.Array]:
        """What was known of each of `keys_N` when `day` began, by feature.

        Null where the table lacks it, or names a later moment.
        """
        missing = len(self._keys)
        spots = np.minimum(np.searchsorted(self._keys, keys_N), max(0, missing - 1))
        rows = pa.array(np.where(self._keys[spots] == keys_N, spots, missing) if missing else spots)
        picked = {name: column.take(rows) for name, column in self._columns.items()}
        midnight = pa.scalar(day_bounds_us(day, self._zone)[0], pa.int64()).cast(MOMENT)
        return {
            name: (
                pc.if_else(pc.less_equal(column, midnight), column, pa.scalar(None, MOMENT))
                if self.types[name] == MOMENT
                else column
            )
            for name, column in picked.items()
        }
