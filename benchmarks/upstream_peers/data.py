"""A log of ad impressions with a planted model: 20 categorical fields (10 to 200,000 values, Zipf;
text and integers in turn), 10 numbers, a click.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

FIELDS, NUMBERS = 20, 10
CARDINALITIES = np.geomspace(10, 200_000, FIELDS).astype(int)
CATEGORICAL = [f"c{i}" for i in range(FIELDS)]
NUMERIC = [f"n{i}" for i in range(NUMBERS)]
LABEL = "click"
CROSSES = ((0, 9), (3, 12), (5, 16), (8, 19), (2, 18), (10, 14))
LATENT = 4
FILES = 10  # as the hours of a log; the last is the test


def make(root: Path, rows: int, seed: int = 0) -> None:
    """`root/train/*.parquet`, nine tenths of the rows, and `root/test.parquet`, the last tenth;
    nothing where they are already there.
    """
    if (root / "ready").exists():
        return
    (root / "train").mkdir(parents=True, exist_ok=True)
    world = np.random.default_rng(seed)
    shares = [np.cumsum(np.arange(1, n + 1) ** -1.05) for n in CARDINALITIES]
    effects = [world.normal(0, 0.28, n) for n in CARDINALITIES]
    vectors = {
        i: world.normal(0, 0.55, (CARDINALITIES[i], LATENT)) for pair in CROSSES for i in pair
    }
    names = [world.permutation(n) for n in CARDINALITIES]
    weights = world.normal(0, 0.2, NUMBERS)
    for file in range(FILES):
        generator = np.random.default_rng((seed, file))
        n = rows // FILES
        ids = [np.searchsorted(share, generator.random(n) * share[-1]) for share in shares]
        numbers_NF = generator.standard_normal((n, NUMBERS))
        logit = (
            -1.6
            + sum(effect[i] for effect, i in zip(effects, ids, strict=True))
            + numbers_NF @ weights
        )
        logit += sum((vectors[a][ids[a]] * vectors[b][ids[b]]).sum(1) for a, b in CROSSES)
        label = generator.random(n) < 1 / (1 + np.exp(-logit))
        columns: dict[str, pl.Series] = {}
        for field, (name, i) in enumerate(zip(names, ids, strict=True)):
            value = pl.Series(CATEGORICAL[field], 10_000_019 + 7919 * name[i])
            columns[value.name] = (
                value if field % 2 else pl.Series(value.name, [f"v{x:x}" for x in value.to_list()])
            )
        columns |= {name: pl.Series(np.exp(numbers_NF[:, j])) for j, name in enumerate(NUMERIC)}
        frame = pl.DataFrame({**columns, LABEL: label.astype(np.int8)})
        frame.write_parquet(
            root / "test.parquet" if file == FILES - 1 else root / "train" / f"{file:02}.parquet"
        )
    (root / "ready").touch()
