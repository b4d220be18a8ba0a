"""Point-in-time look-up by Feast: `get_historical_features` over the files of `feast_data`.

    python -m benchmarks.peers.feast_join ROOT [--store duckdb|dask] [--layout list|wide]
        [--as arrow|df] [--rows N] [--check]

Run it with the Python of .venv-feast (feast_env.sh). Writes ROOT/feast.npy: the vectors in the
order of the training rows, NaN where Feast gave none, and prints {"seconds", "peak_rss_mb", "rows",
"checksum", ...} as JSON. `seconds` is get_historical_features and its result in memory; imports,
the registry and reading the training rows are not in it. `found`: the rows with a vector. `rows`:
the rows returned; the Dask store, Feast's default for files, drops training rows whose user has
later vectors only.

The Dask store wants one feature for each number (--layout wide): of lists, Dask pickles and hashes
every vector to name each intermediate table, which took over 20 times as long. For the DuckDB store
the two layouts are alike.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path

os.environ.setdefault("FEAST_USAGE", "False")

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Float32

from benchmarks.peers.feast_data import reference
from benchmarks.peers.measure import peak_rss_mb


def open_store(folder: Path, features: Path, kind: str, fields: list[Field]) -> FeatureStore:
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=None,
        offline_store={"type": kind},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["key"], value_type=ValueType.INT64)
    source = FileSource(
        path=str(features.resolve()),
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
    )
    store.apply(
        [
            user,
            FeatureView(
                name="embedding",
                entities=[user],
                ttl=None,
                schema=fields,
                source=source,
                online=False,
            ),
        ]
    )
    return store


def vectors_of(
    result: pa.Table | pd.DataFrame, names: list[str], rows: int, width: int
) -> tuple[np.ndarray, int]:
    """Vectors in the order of the training rows, and how many there are."""
    table = (
        result
        if isinstance(result, pa.Table)
        else pa.table({name: pa.array(result[name], from_pandas=True) for name in ("row", *names)})
    )
    columns = [table[name].combine_chunks() for name in names]
    there = columns[0].is_valid().to_numpy(zero_copy_only=False)
    answers = np.full((rows, width), np.nan, np.float32)
    found = [column.drop_null() for column in columns]
    vectors = (
        np.column_stack([column.to_numpy() for column in found])
        if len(names) > 1
        else found[0].flatten().to_numpy().reshape(-1, width)
    )
    answers[table["row"].to_numpy()[there]] = vectors
    return answers, int(there.sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--store", choices=("duckdb", "dask"), default="duckdb")
    parser.add_argument("--layout", choices=("list", "wide"), default="list")
    parser.add_argument("--as", dest="form", choices=("arrow", "df"), default="arrow")
    parser.add_argument(
        "--rows", type=int, default=0, help="N of the training rows, drawn by chance"
    )
    parser.add_argument("--check", action="store_true", help="compare with NumPy")
    options = parser.parse_args()
    width = json.loads((options.root / "data.json").read_text())["width"]
    entity = pd.read_parquet(options.root / "entity.parquet")
    rows = len(entity)
    if options.rows:
        entity = entity.sample(options.rows, random_state=0)
    folder = Path(tempfile.mkdtemp())
    names = ["vector"] if options.layout == "list" else [f"v{place}" for place in range(width)]
    fields = [
        Field(name=name, dtype=Array(Float32) if options.layout == "list" else Float32)
        for name in names
    ]
    store = open_store(
        folder, options.root / f"features.{options.layout}.parquet", options.store, fields
    )
    start = time.perf_counter()
    job = store.get_historical_features(
        entity_df=entity, features=[f"embedding:{name}" for name in names]
    )
    result = job.to_df() if options.form == "df" else job.to_arrow()
    seconds, peak = time.perf_counter() - start, peak_rss_mb()
    answers, found = vectors_of(result, names, rows, width)
    shutil.rmtree(folder)
    np.save(options.root / "feast.npy", answers)
    if options.check:
        expected = reference(options.root)
        asked = entity["row"].to_numpy()
        np.testing.assert_array_equal(answers[asked], expected[asked])
    asked = {
        "store": options.store,
        "layout": options.layout,
        "as": options.form,
        "asked": len(entity),
    }
    got = {"rows": len(result), "found": found, "checksum": f"{zlib.crc32(answers.tobytes()):08x}"}
    print(json.dumps({**asked, "seconds": round(seconds, 2), "peak_rss_mb": round(peak), **got}))


if __name__ == "__main__":
    main()
