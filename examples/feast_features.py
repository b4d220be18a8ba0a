"""Published vectors through Feast: export a repository, apply it, and ask it for rows as they were
served.

    headwater demo --out demo
    python examples/feast_features.py demo/factory.yaml --from 2025-01-15 --to 2025-01-16 \\
        --log impressions --out feast

The rows' vectors are those of the training set, bit for bit, which it checks. Needs Feast (pip
install 'headwater[feast]').
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureStore
from feast.cli.cli import cli

from headwater.exports.feast import export_feast
from headwater.exports.training_set import TrainingSet


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("factory", type=Path)
    parser.add_argument("--from", dest="start", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--to", dest="end", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    parser.add_argument("--rows", type=int, default=500, help="asked for, evenly spread")
    options = parser.parse_args()

    export_feast(options.factory, options.out)
    cli(["-c", str(options.out), "apply"], standalone_mode=False)  # as `feast apply` does

    rows = TrainingSet.load(
        options.factory, options.start, options.end, log=options.log, features=False
    )
    table = rows.reader().read_all()
    table = table.take(np.unique(np.linspace(0, len(table) - 1, options.rows).astype(np.int64)))
    keys = list(rows.log.entities.values())
    asked = (
        table.select(keys)
        .to_pandas()
        .assign(
            event_timestamp=table["time"].to_pandas(),
            request_time=table["time"].to_pandas(),
            row=range(len(table)),
        )
    )
    features = [f"{name}:{name}" for name in rows.spaces] + [
        f"{name}_freshness:{name}_age_days" for name in rows.spaces
    ]
    answers: pd.DataFrame = (
        FeatureStore(str(options.out))
        .get_historical_features(entity_df=asked, features=features)
        .to_df()
        .sort_values("row")
    )

    print(
        answers[[*keys, "event_timestamp", *(f"{name}_age_days" for name in rows.spaces)]]
        .tail(5)
        .to_string(index=False)
    )
    for name, space in rows.spaces.items():
        ours = (
            table[name]
            .combine_chunks()
            .flatten()
            .to_numpy(zero_copy_only=False)
            .reshape(len(table), -1)
        )
        there = answers[name].notna().to_numpy()
        same = (
            np.array_equal(np.stack(answers[name][there].to_list()).astype(np.float32), ours[there])
            and np.isnan(ours[~there]).all()
        )
        print(
            f"{name}: {there.sum():,} of {len(table):,} rows have a vector of {space.width}"
            f" numbers; as served: {same}"
        )


if __name__ == "__main__":
    main()
