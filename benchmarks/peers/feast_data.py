"""Daily editions of an embedding and training rows to look up in them, as files both sides read,
written edition by edition.

    python -m benchmarks.peers.feast_data ROOT [--users 200000] [--editions 30]
        [--rows 1000000] [--width 64] [--seed 0]

Needs pyarrow. Edition e is published at midnight of day e (from 2025-01-01, UTC) and has fresh
vectors for 0.3 of the users; training rows are spread over days 0 to `editions`. A row's answer is
its user's latest vector published no later than the row; users not yet seen have none.

edition-EE.{keys,vectors}.npy         fresh rows of edition E; keys ascending, uint64 below 2**63
(Feast has no unsigned integers) entity.{keys,times}.npy               training rows in order of
time; times unique, int64 microseconds since 1970, UTC entity.parquet                        the
same rows: key, event_timestamp, row (its number) features.list.parquet                 all fresh
rows of all editions: key, vector list<float>, event_timestamp (the publishing), created
features.wide.parquet                 the same with a column for each number of the vector: v0, v1,
...
"""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY_US = 24 * 3600 * 10**6
START_US = 20_089 * DAY_US
SHARE = 0.3
STAMP = pa.timestamp("us", tz="UTC")
PLAIN = {"use_dictionary": False, "compression": "none"}


def make(root: Path, users: int, editions: int, rows: int, width: int = 64, seed: int = 0) -> None:
    root.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    keys_U = distinct(generator, 0, 2**63, users).astype(np.uint64)
    with ExitStack() as files:

        def writer_of(layout: str, schema: pa.Schema) -> pq.ParquetWriter:
            return files.enter_context(
                pq.ParquetWriter(root / f"features.{layout}.parquet", schema, **PLAIN)
            )

        writers = {layout: writer_of(layout, schema) for layout, schema in schemas(width).items()}
        for edition in range(editions):
            keys = keys_U[np.sort(generator.choice(users, round(SHARE * users), replace=False))]
            vectors = generator.standard_normal((len(keys), width), dtype=np.float32)
            np.save(root / f"edition-{edition:02}.keys.npy", keys)
            np.save(root / f"edition-{edition:02}.vectors.npy", vectors)
            published = pa.array(np.full(len(keys), START_US + edition * DAY_US)).cast(STAMP)
            offsets = pa.array(np.arange(len(keys) + 1, dtype=np.int32) * width)
            features = {
                "list": [pa.ListArray.from_arrays(offsets, pa.array(vectors.reshape(-1)))],
                "wide": [pa.array(column) for column in vectors.T.copy()],
            }
            for layout, writer in writers.items():
                writer.write_table(
                    pa.table(
                        [pa.array(keys.view(np.int64)), *features[layout], published, published],
                        schema=writer.schema,
                    )
                )
    times = distinct(generator, START_US, START_US + editions * DAY_US, rows)
    keys = keys_U[generator.integers(0, users, rows)]
    np.save(root / "entity.keys.npy", keys)
    np.save(root / "entity.times.npy", times)
    entity = {
        "key": keys.view(np.int64),
        "event_timestamp": pa.array(times).cast(STAMP),
        "row": np.arange(rows),
    }
    pq.write_table(pa.table(entity), root / "entity.parquet", compression="none")
    (root / "data.json").write_text(
        json.dumps(
            {"users": users, "editions": editions, "rows": rows, "width": width, "seed": seed}
        )
    )


def schemas(width: int) -> dict[str, pa.Schema]:
    features = {
        "list": [("vector", pa.list_(pa.float32()))],
        "wide": [(f"v{place}", pa.float32()) for place in range(width)],
    }
    return {
        layout: pa.schema(
            [("key", pa.int64()), *fields, ("event_timestamp", STAMP), ("created", STAMP)]
        )
        for layout, fields in features.items()
    }


def distinct(generator: np.random.Generator, low: int, high: int, count: int) -> np.ndarray:
    """`count` different integers, ascending."""
    found = np.empty(0, np.int64)
    while len(found) < count:
        found = np.unique(
            np.concatenate(
                [found, generator.integers(low, high, count - len(found), dtype=np.int64)]
            )
        )
    return found


def reference(root: Path) -> np.ndarray:
    """The answers, edition by edition over all rows; NaN where there is none."""
    data = json.loads((root / "data.json").read_text())
    keys, times = np.load(root / "entity.keys.npy"), np.load(root / "entity.times.npy")
    answers = np.full((data["rows"], data["width"]), np.nan, np.float32)
    for edition in range(data["editions"]):
        fresh, vectors = (
            np.load(root / f"edition-{edition:02}.{name}.npy") for name in ("keys", "vectors")
        )
        later = np.flatnonzero(times >= START_US + edition * DAY_US)
        places = np.minimum(np.searchsorted(fresh, keys[later]), len(fresh) - 1)
        found = fresh[places] == keys[later]
        answers[later[found]] = vectors[places[found]]
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path)
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--editions", type=int, default=30)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    make(options.root, options.users, options.editions, options.rows, options.width, options.seed)


if __name__ == "__main__":
    main()
