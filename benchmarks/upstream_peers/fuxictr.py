"""FuxiCTR: its feature processor and Parquet loader, its embedding, CrossNetV2 and MLP layers in
its BaseModel, whose `train_epoch` is the trainer.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fuxictr.features import FeatureMap
from fuxictr.preprocess import FeatureProcessor, build_dataset
from fuxictr.pytorch.dataloaders import RankDataLoader
from fuxictr.pytorch.layers import CrossNetV2, FeatureEmbedding, MLP_Block
from fuxictr.pytorch.models import BaseModel
from fuxictr.pytorch.torch_utils import seed_everything

from benchmarks.upstream_peers.data import CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace


class Dcn(BaseModel):
    def __init__(self, features: FeatureMap, pace: Pace, root: str) -> None:
        super().__init__(
            features, model_id="dcn", gpu=-1, verbose=0, model_root=root, metrics=["AUC"]
        )
        self.pace = pace
        self.embedding = FeatureEmbedding(features, WIDTH)
        width = features.sum_emb_out_dim()
        self.cross, self.mlp = (
            CrossNetV2(width, LAYERS),
            MLP_Block(input_dim=width, hidden_units=list(MLP), hidden_activations="relu"),
        )
        self.out = torch.nn.Linear(width + MLP[-1], 1)
        self.compile("adam", "binary_crossentropy", 1e-3)
        self.reset_parameters()

    def forward(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.training:
            self.pace.step(len(inputs[LABEL]))
        x = self.embedding(self.get_inputs(inputs)).flatten(start_dim=1)
        return {
            "y_pred": self.output_activation(
                self.out(torch.cat([self.cross(x), self.mlp(x)], dim=-1))
            )
        }


def main() -> None:
    pace = Pace()
    torch.set_num_threads(THREADS)
    seed_everything(SEED)
    with tempfile.TemporaryDirectory() as root:
        train, test = (
            pd.concat(map(pd.read_parquet, pace.train_files()), ignore_index=True),
            pd.read_parquet(pace.data / "test.parquet"),
        )
        mean, spread = np.log1p(train[NUMERIC]).mean(), np.log1p(train[NUMERIC]).std()
        for part, frame in (("train", train), ("test", test)):
            frame[NUMERIC] = (np.log1p(frame[NUMERIC]) - mean) / spread
            frame.astype(dict.fromkeys(CATEGORICAL, str)).to_parquet(f"{root}/raw_{part}.parquet")
        del train, test
        columns = [
            {"name": CATEGORICAL, "active": True, "dtype": "str", "type": "categorical"},
            {"name": NUMERIC, "active": True, "dtype": "float", "type": "numeric"},
        ]
        encoder = FeatureProcessor(
            feature_cols=columns,
            label_col={"name": LABEL, "dtype": "float"},
            dataset_id="log",
            data_root=root,
        )
        parts = build_dataset(
            encoder,
            train_data=f"{root}/raw_train.parquet",
            test_data=f"{root}/raw_test.parquet",
            data_format="parquet",
        )
        features = FeatureMap("log", str(Path(root) / "log"))
        features.load(str(Path(root) / "log" / "feature_map.json"), {"embedding_dim": WIDTH})
        train_loader, _, test_loader = RankDataLoader(
            features,
            train_data=parts[0],
            test_data=parts[2],
            batch_size=BATCH,
            data_format="parquet",
            num_workers=0,
        )
        model = Dcn(features, pace, root)
        # what its `fit` sets, but for the evaluation after the epoch, which would read the test
        model._max_gradient_norm, model._eval_steps, model._total_steps, model._stop_training = (
            10.0,
            10**9,
            0,
            False,
        )
        model.train_epoch(train_loader)
        pace.trained()
        model.eval()
        with torch.no_grad():
            pace.done(
                np.concatenate(
                    [model.forward(batch)["y_pred"].numpy().ravel() for batch in test_loader]
                )
            )


if __name__ == "__main__":
    main()
