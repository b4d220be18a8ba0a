"""The columns of a training set in Arrow: how they are called, and how their arrays are made.

Shapes: N rows, D width of a vector, K length of a sequence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from headwater.embeddings import Served, Space
from headwater.errors import SchemaError
from headwater.events.raw import vector_array
from headwater.schema import History, Log, Timestamp

GROUP = "group_key"
OURS = ("time", "day", GROUP, "edition")


def context_columns(log: Log, taken: Collection[str]) -> dict[str, str]:
    """A log's context features and the columns they are written to.

    The row's own time is not written twice. A feature whose name is `taken` by a column of ours is
    written to LOG.NAME.
    """
    return {
        name: f"{log.name}.{name}" if name in taken else name
        for name, kind in log.features.items()
        if name not in log.entities.values()
        and not (name == log.time and isinstance(kind, Timestamp))
    }


def counter_columns(histories: Mapping[str, History]) -> tuple[str, ...]:
    """The columns of the counters, by entity: log(1 + events), the smoothed share of each action,
    log(1 + hours since the newest event).
    """
    names = []
    for entity, history in histories.items():
        shares = [f"share_{action}" for action in history.actions]
        parts = ("log1p_events", *shares, "log1p_hours_since")
        names += [f"{entity}.history.{part}" for part in parts]
    return tuple(names)


def vector_fields(name: str, space: Space, depth: int) -> list[pa.Field]:
    """The three columns of an embedding. `depth`: how many vectors a sequence has at most; 0 where
    a single one is served.
    """
    vector = pa.list_(pa.float32(), space.width)
    return [
        pa.field(name, pa.list_(vector) if depth else vector),
        pa.field(f"{name}_found", pa.bool_()),
        pa.field(f"{name}_age_days", pa.float32()),
    ]


def expect_distinct(fields: Sequence[pa.Field], log: str) -> None:
    """Raises SchemaError where two columns would have one name."""
    names = [field.name for field in fields]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SchemaError(
            f"log {log}: two columns of the training set would be named"
            f" {', '.join(twice)}. Rename the log's, or the task."
        )


def days_array(day: int | None, n: int) -> pa.Array:
    """One day, in days since 1970, `n` times; nulls where there is none."""
    if day is None:
        return pa.nulls(n, pa.date32())
    return pa.array(np.full(n, day, np.int32)).cast(pa.date32())


def labels_array(labels_N: np.ndarray | None, rows_N: np.ndarray) -> pa.Array:
    """The labels of some rows; nulls where they are NaN, or not defined at all."""
    if labels_N is None:
        return pa.nulls(len(rows_N), pa.float32())
    return pa.array(labels_N[rows_N], pa.float32(), from_pandas=True)


def vectors_array(served: Served) -> pa.Array:
    """Vectors [N, D], full of nulls where nothing was found; or their sequences [N, K, D] as lists
    of those that are filled, null where none is.
    """
    if served.sequence_NKD is None or served.steps_N is None:
        missing_ND = np.broadcast_to(~served.found_N[:, None], served.vectors_ND.shape)
        return vector_array(served.vectors_ND, missing_ND)
    filled_NK = np.arange(served.sequence_NKD.shape[1]) < served.steps_N[:, None]
    vectors = served.sequence_NKD[filled_NK]
    offsets = np.concatenate([[0], np.cumsum(served.steps_N)])
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        vector_array(vectors, np.zeros(vectors.shape, bool)),
        mask=pa.array(~served.found_N),
    )


def nothing_served(space: Space, n: int, is_sequence: bool) -> Served:
    """What `n` rows read where no edition is there yet."""
    nothing = Served(
        space,
        np.zeros((n, space.width), np.float32),
        np.zeros(n, bool),
        np.zeros(n, np.float32),
    )
    if not is_sequence:
        return nothing
    no_steps_NKD = np.zeros((n, 0, space.width), np.float32)
    return replace(nothing, sequence_NKD=no_steps_NKD, steps_N=np.zeros(n, np.int64))
