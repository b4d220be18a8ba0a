"""Which items may be answered: conditions on the columns of the item table.

Such as `category=3` or `price<=10`. Shape suffix: M matching items.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import polars as pl

from headwater.errors import ConfigError, LogError
from headwater.events.tables import collect, matching_files, scan
from headwater.ids import is_id, keys_of
from headwater.schema import Entity, MultiCategorical

_TEXT = re.compile(r"\s*([^=!<>\s]+)\s*(!=|<=|>=|=|<|>)(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Condition:
    """What a column of the item table should be.

    A cell that is empty fulfils none; a cell that holds several values, one that any fulfils.
    """

    column: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """From `COLUMN=VALUE`, or with !=, <, <=, >, >=. Raises ConfigError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"where {text!r}: expected COLUMN=VALUE, or with !=, <, <=, > or >= in place of =,"
                " such as category=3."
            )
        return cls(found[1], found[2], found[3].strip())

    def expression(self, dtype: pl.DataType, separator: str | None) -> pl.Expr:
        """True where a cell of the column fulfils this.

        `separator` splits text that holds several values.
        """
        column = pl.col(self.column)
        if isinstance(dtype, pl.List):
            assert isinstance(dtype.inner, pl.DataType)
            return self._any_of(column, dtype.inner)
        if separator is not None:
            cells = column.cast(pl.String).str.split(separator)
            return self._any_of(cells.list.eval(pl.element().str.strip_chars()), pl.String())
        return self._compare(column, dtype).fill_null(False)

    def _any_of(self, cells: pl.Expr, inner: pl.DataType) -> pl.Expr:
        """True where any value of a list fulfils this; with !=, where none is the value."""
        fulfils = self._compare(pl.element(), inner)
        if self.sign == "!=":
            is_value = pl.element().cast(pl.String) == self.value
            return (~cells.list.eval(is_value).list.any()).fill_null(False)
        return cells.list.eval(fulfils).list.any().fill_null(False)

    def _compare(self, cell: pl.Expr, dtype: pl.DataType) -> pl.Expr:
        compare = _COMPARE[self.sign]
        if dtype.is_numeric():
            if (number := _number(self.value)) is None:
                raise ConfigError(
                    f"where {self.column}{self.sign}{self.value}: the column holds numbers;"
                    f" {self.value!r} is none."
                )
            return compare(cell, number)
        text = cell.cast(pl.String)
        if self.sign not in ("=", "!=") and (number := _number(self.value)) is not None:
            # numbers that a CSV file holds as text
            return compare(text.cast(pl.Float64, strict=False), number)
        return compare(text, self.value.lower() if dtype == pl.Boolean else self.value)


def matching_keys(entity: Entity, where: Sequence[str]) -> np.ndarray:
    """Keys, uint64 [M], of the entities whose row fulfils all conditions.

    Of several `=` on one column, one is enough. Raises ConfigError, and LogError where a column is
    not in the table.
    """
    if entity.key is None:
        raise ConfigError(
            f"where {where[0]!r}: entities.{entity.name} has no table to look that up in. Declare"
            " its table and key in factory.yaml."
        )
    conditions = [Condition.parse(text) for text in where]
    what = f"entity {entity.name}"
    found = []
    for file in matching_files(entity.paths, what):
        lazy = scan(file, (entity.key, *(condition.column for condition in conditions)), what)
        schema = lazy.collect_schema()
        if not is_id(schema[entity.key]):
            raise LogError(
                f"{what}: its key {entity.key!r} holds {schema[entity.key]}; ids are strings or"
                " 64-bit integers."
            )
        matching = lazy.filter(_all_of(conditions, schema, entity)).select(entity.key)
        found.append(keys_of(collect(matching, file, what)[entity.key].drop_nulls()))
    return np.unique(np.concatenate(found))


def _all_of(conditions: Sequence[Condition], schema: pl.Schema, entity: Entity) -> pl.Expr:
    groups: dict[object, list[pl.Expr]] = {}
    for place, condition in enumerate(conditions):
        kind = entity.features.get(condition.column)
        separator = kind.separator if isinstance(kind, MultiCategorical) else None
        alike = condition.column if condition.sign == "=" else place
        groups.setdefault(alike, []).append(
            condition.expression(schema[condition.column], separator)
        )
    return reduce(operator.and_, (reduce(operator.or_, group) for group in groups.values()))


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None
