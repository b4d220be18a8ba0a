"""torch-rechub's DCNv2, AutoInt and DIN, by its CTRTrainer; see contender.py. It is handed whole
batches, for its own loader takes rows one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.ranking import DIN, AutoInt, DCNv2
from torch_rechub.trainers import CTRTrainer

from benchmarks.upstream_quality.contender import (
    BATCH,
    BEHAVIOURS,
    MLP,
    WIDTH,
    Job,
    Table,
    table_of,
)


class Batches:
    """Batches of all columns as tensors, shuffled anew at each pass."""

    def __init__(
        self, arrays: dict[str, np.ndarray], labels_N: np.ndarray, rows_M: np.ndarray, shuffle: bool
    ) -> None:
        self.arrays = {name: torch.from_numpy(values[rows_M]) for name, values in arrays.items()}
        self.labels, self.shuffle = torch.from_numpy(labels_N[rows_M]), shuffle

    def __len__(self) -> int:
        return -(-len(self.labels) // BATCH)

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        n = len(self.labels)
        for some in (torch.randperm(n) if self.shuffle else torch.arange(n)).split(BATCH):
            yield {name: values[some] for name, values in self.arrays.items()}, self.labels[some]


def columns_of(
    table: Table, din: bool
) -> tuple[list[Any], list[Any], list[Any], dict[str, np.ndarray]]:
    """Features, those of the history and those of the candidate (DIN's), and the arrays they
    name.
    """
    act = table.sequences["hist_act"][2]
    sizes = table.sizes | ({"act": act} if din else {})
    arrays = table.sparse | ({"act": np.full(len(table.labels_N), act - 1)} if din else {})
    sparse = {name: SparseFeature(name, size, embed_dim=WIDTH) for name, size in sizes.items()}
    past, pooled = [], []
    for name, (ids, of, size) in table.sequences.items():
        attended = din and name.startswith("hist_")
        own = "act" if din and name == "hist_act" else of
        sequence = SequenceFeature(
            name, size, WIDTH, "concat" if attended else "mean", own, padding_idx=0
        )
        (past if attended else pooled).append(sequence)
        arrays[name] = ids
    target = [sparse.pop(name) for name in BEHAVIOURS] if din else []
    return [*sparse.values(), *pooled], past, target, arrays


def model_of(name: str, table: Table, setting: dict[str, Any]) -> tuple[Any, dict[str, np.ndarray]]:
    features, past, target, arrays = columns_of(table, name == "din")
    mlp = {"dims": list(MLP), "dropout": setting["dropout"]}
    if name == "autoint":
        arrays |= {f"d{f}": column for f, column in enumerate(table.dense_NF.T)}
        numbers = [DenseFeature(f"d{f}") for f in range(table.dense_NF.shape[1])]
        return (
            AutoInt(features, numbers, num_layers=2, mlp_params=mlp | {"activation": "relu"}),
            arrays,
        )
    arrays["numbers"] = table.dense_NF
    if name == "dcnv2":
        return (
            DCNv2(
                [DenseFeature("numbers", table.dense_NF.shape[1]), *features],
                2,
                mlp | {"activation": "relu"},
                use_low_rank_mixture=False,
            ),
            arrays,
        )
    # Its DIN has no place for numbers beside embeddings: each is cut into 32 bins by rank, as its
    # guides do.
    del arrays["numbers"]
    for f, column in enumerate(table.dense_NF.T):
        edges = np.unique(np.quantile(column[table.learn_M], np.linspace(0, 1, 33)[1:-1]))
        arrays[f"d{f}"] = np.searchsorted(edges, column, side="right")
        features.append(SparseFeature(f"d{f}", 33, embed_dim=WIDTH))
    return (
        DIN(
            features,
            past,
            target,
            mlp,
            {"dims": [64, 16], "activation": "dice", "use_softmax": False},
        ),
        arrays,
    )


def main() -> None:
    job = Job.of_arguments()
    torch.set_num_threads(1)
    table = table_of(job)

    def fit_and_score(seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        model, arrays = model_of(job.model, table, job.setting)
        learn, score = (
            Batches(arrays, table.labels_N, rows, rows is table.learn_M)
            for rows in (table.learn_M, table.score_M)
        )
        trainer = CTRTrainer(
            model,
            optimizer_params={"lr": job.setting["lr"]},
            regularization_params={"embedding_l2": job.setting["l2"] / BATCH},
            n_epoch=job.setting["epochs"],
        )
        for _ in range(job.setting["epochs"]):
            trainer.train_one_epoch(learn)
        return np.asarray(trainer.predict(model, score))

    job.run(fit_and_score)


if __name__ == "__main__":
    main()
