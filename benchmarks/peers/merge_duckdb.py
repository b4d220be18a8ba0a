"""DuckDB: a full join of yesterday's table in its own database file with today's Parquet, as one
CREATE TABLE in a new database file.

Vectors are FLOAT[n] arrays, stored uncompressed: quicker here than Parquet on either side, than
compressed columns, than three anti and inner joins in a UNION ALL, than a NumPy function over
Arrow, and than MERGE INTO in place.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from benchmarks.peers import parquet
from benchmarks.peers.data import EXPIRE_DAYS, TODAY, Rows
from benchmarks.peers.merging import NEW, OLD, Merge, fresh_folder, sync_tree


class DuckDBMerge(Merge):
    def prepare(self, root: Path, before: Rows, today: Rows) -> None:
        folder = fresh_folder(root / "in")
        parquet.write(today, folder / "today.parquet")
        parquet.write(before, folder / "before.parquet")
        with self.database(folder / "before.db") as db:
            db.execute(
                f"CREATE TABLE embedding AS SELECT key, vector::FLOAT[{before.width}] AS vector,"
                f" seen FROM '{folder}/before.parquet'"
            )
        (folder / "before.parquet").unlink()

    def merge(self, root: Path) -> None:
        with self.database(root / "out" / "after.db") as db:
            db.execute(f"ATTACH '{root}/in/before.db' AS yesterday (READ_ONLY)")
            [(vector,)] = db.execute(
                "SELECT data_type FROM duckdb_columns() WHERE database_name = 'yesterday' AND"
                " column_name = 'vector'"
            ).fetchall()
            db.execute(f"""
                CREATE TABLE embedding AS
                SELECT coalesce(t.key, b.key) AS key,
                       CASE WHEN t.key IS NULL THEN b.vector
                            WHEN b.key IS NULL THEN t.vector::{vector}
                            ELSE list_transform(
                                list_zip(b.vector, t.vector),
                                lambda p: ({OLD}::FLOAT * p[1] + {NEW}::FLOAT * p[2])::FLOAT
                            )::{vector}
                       END AS vector,
                       CASE WHEN t.key IS NULL THEN b.seen ELSE {TODAY}::INTEGER END AS seen
                FROM yesterday.embedding b
                FULL JOIN read_parquet('{root}/in/today.parquet') t ON b.key = t.key
                WHERE t.key IS NOT NULL OR {TODAY} - b.seen <= {EXPIRE_DAYS}""")
        sync_tree(root / "out")

    def read_back(self, root: Path) -> Rows:
        with duckdb.connect(str(root / "out" / "after.db"), read_only=True) as db:
            table = db.sql("SELECT * FROM embedding").to_arrow_table()
        return parquet.by_key(table)

    def database(self, path: Path) -> duckdb.DuckDBPyConnection:
        """Rows in any order: DuckDB then writes with all threads and needs to hold none back."""
        db = duckdb.connect(
            str(path), config={"memory_limit": self.memory_limit} if self.memory_limit else {}
        )
        db.execute("SET preserve_insertion_order = false")
        db.execute("SET force_compression = 'uncompressed'")
        return db
