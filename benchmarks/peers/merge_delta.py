"""Delta Lake: one MERGE into the table, whose matched rows are averaged by 64 expressions side by
side (its SQL has no arithmetic on lists).

That is quicker and smaller than the other way there is: to read the matched vectors, average them
in NumPy and MERGE them with `when_matched_update_all`. Delta has no unsigned integers and no
fixed-size lists: keys are kept as the int64 of the same bits. Yesterday's table stays readable as
the version before.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import ColumnProperties, DeltaTable, WriterProperties, write_deltalake

from benchmarks.peers import parquet
from benchmarks.peers.data import EXPIRE_DAYS, TODAY, Rows
from benchmarks.peers.merging import NEW, OLD, Merge, fresh_folder, sync_tree

SCHEMA = pa.schema([("key", pa.int64()), ("vector", pa.list_(pa.float32())), ("seen", pa.int32())])
PLAIN = WriterProperties(
    compression="UNCOMPRESSED", default_column_properties=ColumnProperties(dictionary_enabled=False)
)


class DeltaMerge(Merge):
    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        folder = fresh_folder(root / "in")
        parquet.write(today, folder / "today.parquet", np.int64)
        batches = (
            batch
            for part in before.parts()
            for batch in parquet.to_arrow(part, np.int64).cast(SCHEMA).to_batches()
        )
        write_deltalake(
            str(folder / "table"),
            pa.RecordBatchReader.from_batches(SCHEMA, batches),
            writer_properties=PLAIN,
        )

    def rewind(self, root: Path) -> None:
        """A table of links to yesterday's files: a MERGE writes new files and a log entry, and
        changes none.
        """
        super().rewind(root)
        shutil.copytree(root / "in" / "table", root / "out" / "table", copy_function=os.link)

    def merge(self, root: Path) -> None:
        today = pq.read_table(root / "in" / "today.parquet")
        width = today.schema.field("vector").type.list_size
        mixed = ", ".join(
            f"arrow_cast({OLD}, 'Float32') * t.vector[{i}] + arrow_cast({NEW}, 'Float32') *"
            f" s.vector[{i}]"
            for i in range(1, width + 1)
        )
        source = today.append_column("seen", pa.array(np.full(len(today), TODAY, np.int32))).cast(
            SCHEMA
        )
        limit = {"max_spill_size": as_bytes(self.memory_limit)} if self.memory_limit else {}
        (
            DeltaTable(str(root / "out" / "table"))
            .merge(
                source,
                "t.key = s.key",
                source_alias="s",
                target_alias="t",
                writer_properties=PLAIN,
                **limit,
            )
            .when_matched_update({"vector": f"make_array({mixed})", "seen": "s.seen"})
            .when_not_matched_insert_all()
            .when_not_matched_by_source_delete(f"{TODAY} - t.seen > {EXPIRE_DAYS}")
            .execute()
        )
        sync_tree(root / "out")

    def read_back(self, root: Path) -> Rows:
        return parquet.by_key(DeltaTable(str(root / "out" / "table")).to_pyarrow_table())


def as_bytes(size: str) -> int:
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    return int(float(size[:-2]) * units[size[-2:].upper()])
