"""RecBole: atomic files as its documentation asks for, DCNV2, Trainer."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.context_aware_recommender import DCNV2
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.upstream_peers.data import CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace


def atomic(pace: Pace, folder: Path) -> dict[str, int]:
    """Parquet as `log.{train,valid,test}.inter`: the two widest fields are its user and
    item ids.
    """
    types = dict.fromkeys(CATEGORICAL, "token") | dict.fromkeys(NUMERIC, "float") | {LABEL: "float"}
    frames = {
        "train": pd.concat(map(pd.read_parquet, pace.train_files()), ignore_index=True),
        "test": pd.read_parquet(pace.data / "test.parquet"),
    }
    frames["valid"] = frames["test"][:BATCH]  # its trainer is not asked to look at it
    mean, spread = (
        np.log1p(frames["train"][NUMERIC]).mean(),
        np.log1p(frames["train"][NUMERIC]).std(),
    )
    for part, frame in frames.items():
        frame = frame.copy()
        frame[NUMERIC] = (np.log1p(frame[NUMERIC]) - mean) / spread
        frame.rename(columns={name: f"{name}:{kind}" for name, kind in types.items()}).to_csv(
            folder / f"log.{part}.inter", sep="\t", index=False
        )
    return {part: len(frame) for part, frame in frames.items()}


def main() -> None:
    pace = Pace()
    pace.data, pace.predictions = pace.data.resolve(), pace.predictions.resolve()
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as root:
        os.chdir(root)  # it logs to where it stands
        (Path(root) / "log").mkdir()
        atomic(pace, Path(root) / "log")
        settings = {
            "data_path": root,
            "benchmark_filename": ["train", "valid", "test"],
            "USER_ID_FIELD": CATEGORICAL[-1],
            "ITEM_ID_FIELD": CATEGORICAL[-2],
            "LABEL_FIELD": LABEL,
            "load_col": {"inter": [*CATEGORICAL, *NUMERIC, LABEL]},
            "embedding_size": WIDTH,
            "structure": "parallel",
            "mixed": False,
            "cross_layer_num": LAYERS,
            "mlp_hidden_size": list(MLP),
            "dropout_prob": 0,
            "reg_weight": 0,
            "train_batch_size": BATCH,
            "eval_batch_size": BATCH,
            "epochs": 1,
            "learning_rate": 1e-3,
            "numerical_features": NUMERIC,
            "normalize_all": False,
            "eval_args": {"order": "RO", "mode": "labeled"},
            "metrics": ["AUC"],
            "valid_metric": "AUC",
            "train_neg_sample_args": None,
            "use_gpu": False,
            "device": "cpu",
            "show_progress": False,
            "seed": SEED,
            "checkpoint_dir": root,
            "state": "ERROR",
        }
        config = Config(model="DCNV2", dataset="log", config_dict=settings)
        logging.disable(logging.ERROR)
        init_seed(SEED, True)
        train, _, test = data_preparation(config, create_dataset(config))
        model = DCNV2(config, train.dataset)
        torch.set_num_threads(THREADS)
        calculate = model.calculate_loss

        def paced(interaction: object) -> torch.Tensor:
            pace.step(len(interaction))  # type: ignore[arg-type]
            return calculate(interaction)

        model.calculate_loss = paced
        trainer = Trainer(config, model)
        trainer.fit(train, saved=False, show_progress=False)
        pace.trained()
        model.eval()
        with torch.no_grad():
            pace.done(np.concatenate([model.predict(batch[0]).numpy() for batch in test]))


if __name__ == "__main__":
    main()
