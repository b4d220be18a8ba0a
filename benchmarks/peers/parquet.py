"""Rows as Parquet, part by part: vectors as FixedSizeList<float>, plain (random floats neither
compress nor repeat).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.data import Rows

PLAIN = {"use_dictionary": False, "compression": "none"}


def to_arrow(part: Rows, key: type = np.uint64) -> pa.Table:
    values = pa.array(part.vectors_ND.reshape(-1))
    columns = {
        "key": pa.array(part.keys_N.view(key)),
        "vector": pa.FixedSizeListArray.from_arrays(values, part.width),
    }
    if part.seen_N is not None:
        columns["seen"] = pa.array(part.seen_N)
    return pa.table(columns)


def write(rows: Rows, path: Path, key: type = np.uint64) -> None:
    writer = None
    for part in rows.parts():
        table = to_arrow(part, key)
        writer = writer or pq.ParquetWriter(path, table.schema, **PLAIN)
        writer.write_table(table)
    writer.close()


def by_key(table: pa.Table) -> Rows:
    """Columns key, vector, seen in any order of rows."""
    keys = table["key"].to_numpy().view(np.uint64)
    vectors = np.concatenate(
        [chunk.flatten().to_numpy() for chunk in table["vector"].chunks]
    ).reshape(len(keys), -1)
    order = np.argsort(keys)
    return Rows(keys[order], vectors[order], table["seen"].to_numpy()[order])
