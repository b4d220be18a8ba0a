"""A LightGBM click model on rows with the vectors that were served to them, beside one without:
what do they gain a model that is not ours?

    headwater demo --out demo
    python examples/lightgbm_training_set.py demo/factory.yaml --from 2025-01-08 --to 2025-01-19 \\
        --consumer ctr

It trains on all days but the last and is judged on the last. Needs LightGBM (pip install
'headwater[dev]').
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

import lightgbm
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from headwater.exports.training_set import TrainingSet


def inputs(table: pa.Table, names: list[str]) -> tuple[np.ndarray, list[int]]:
    """Columns side by side, NaN where null, and which of them are categories: a vector is as many
    columns as it is wide.
    """
    columns, categorical = [], []
    for name in names:
        column, kind = table[name].combine_chunks(), table.schema.field(name).type
        if pa.types.is_fixed_size_list(kind):
            columns += list(
                column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1).T
            )
        elif pa.types.is_string(kind) or pa.types.is_integer(kind):
            categorical.append(len(columns))
            columns.append(
                pc.fill_null(pc.dictionary_encode(column.cast(pa.string())).indices, -1).to_numpy()
            )
        else:
            columns.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return np.column_stack(columns), categorical


def auc(table: pa.Table, names: list[str], label: str, last: dt.date) -> float:
    values, categorical = inputs(table, names)
    labels = table[label].to_numpy()
    late = pc.equal(table["day"], last).to_numpy()
    settings = {
        "objective": "binary",
        "learning_rate": 0.1,
        "num_leaves": 31,
        "verbosity": -1,
        "seed": 0,
        "deterministic": True,
        "force_row_wise": True,
    }
    model = lightgbm.train(
        settings,
        lightgbm.Dataset(values[~late], labels[~late], categorical_feature=categorical),
        num_boost_round=100,
    )
    return float(roc_auc_score(labels[late], model.predict(values[late])))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("factory", type=Path)
    parser.add_argument("--from", dest="start", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--to", dest="end", type=dt.date.fromisoformat, required=True)
    parser.add_argument("--consumer", required=True, help="whose task is learnt")
    parser.add_argument("--out", type=Path, default=Path("rows.parquet"))
    options = parser.parse_args()

    rows = TrainingSet.load(options.factory, options.start, options.end, consumer=options.consumer)
    written = rows.write(options.out)
    label = rows.config.downstream[options.consumer].task
    table = pq.read_table(options.out)
    table = table.filter(
        pc.is_valid(table[label])
    )  # not defined, or not matured yet: nothing to learn
    last = pc.max(table["day"]).as_py()  # the last whose labels have matured
    scalars = [
        name
        for name in (*rows.context.values(), *rows.counters, *rows.kinds)
        if not pa.types.is_nested(rows.schema.field(name).type)
    ]
    plain = [
        name
        for name in dict.fromkeys(scalars)
        if not pa.types.is_timestamp(rows.schema.field(name).type)
    ]
    vectors = list(rows.wanted.embeddings)
    print(f"{written:,} rows in {options.out}; {label} judged on {last}")
    print(
        f"ROC-AUC without vectors {auc(table, plain, label, last):.4f}, with"
        f" {auc(table, plain + vectors, label, last):.4f}"
    )


if __name__ == "__main__":
    main()
