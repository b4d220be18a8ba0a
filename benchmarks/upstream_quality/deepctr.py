"""DeepCTR-Torch's DCN (matrix crossing: DCNv2), xDeepFM, AutoInt and DIN, by its own `fit`; see
contender.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, VarLenSparseFeat
from deepctr_torch.models import DCN, DIN, AutoInt, xDeepFM

from benchmarks.upstream_quality.contender import (
    BATCH,
    BEHAVIOURS,
    MLP,
    WIDTH,
    Job,
    Table,
    table_of,
)


def inputs_of(table: Table, din: bool, shares: bool) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Feature columns, and the arrays they name. Its AutoInt and xDeepFM count tables for fields,
    so there none may be shared.
    """
    columns: list[Any] = [
        SparseFeat(name, size, embedding_dim=WIDTH) for name, size in table.sizes.items()
    ]
    columns.append(DenseFeat("numbers", table.dense_NF.shape[1]))
    arrays = table.sparse | {"numbers": table.dense_NF}
    if din:
        columns.append(SparseFeat("act", table.sequences["hist_act"][2], embedding_dim=WIDTH))
        arrays |= {
            "act": np.full(len(table.labels_N), table.sequences["hist_act"][2] - 1),
            "seq_length": table.lengths_N,
        }
    for name, (ids, of, size) in table.sequences.items():
        own = "act" if din and name == "hist_act" else of if of and shares else name
        attended = din and name.startswith("hist_")
        feature = SparseFeat(name, size, embedding_dim=WIDTH, embedding_name=own)
        columns.append(
            VarLenSparseFeat(
                feature, ids.shape[1], "mean", length_name="seq_length" if attended else None
            )
        )
        arrays[name] = ids
    return columns, arrays


def model_of(name: str, columns: list[Any], setting: dict[str, Any], seed: int) -> Any:
    common = {
        "dnn_hidden_units": MLP,
        "dnn_dropout": setting["dropout"],
        "l2_reg_embedding": setting["l2"],
        "seed": seed,
    }
    if name == "dcnv2":
        return DCN(columns, columns, cross_num=2, cross_parameterization="matrix", **common)
    if name == "xdeepfm":
        return xDeepFM(columns, columns, cin_layer_size=(32, 16), **common)
    if name == "autoint":
        return AutoInt(columns, columns, att_layer_num=2, **common)
    return DIN(columns, list(BEHAVIOURS), att_weight_normalization=False, **common)


def main() -> None:
    job = Job.of_arguments()
    torch.set_num_threads(1)
    table = table_of(job)
    columns, arrays = inputs_of(table, job.model == "din", job.model in ("dcnv2", "din"))
    learn, score = (
        {name: values[rows].astype(np.float32) for name, values in arrays.items()}
        for rows in (table.learn_M, table.score_M)
    )

    def fit_and_score(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        model = model_of(job.model, columns, job.setting, seed)
        model.compile(
            torch.optim.Adam(model.parameters(), lr=job.setting["lr"]),
            "binary_crossentropy",
            metrics=[],
        )
        model.fit(
            dict(learn),
            table.labels_N[table.learn_M],
            batch_size=BATCH,
            epochs=job.setting["epochs"],
            verbose=0,
        )
        return np.asarray(model.predict(dict(score), 4096))

    job.run(fit_and_score)


if __name__ == "__main__":
    main()
