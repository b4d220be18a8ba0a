"""TorchRec: one fused table-batched embedding collection with row-wise Adagrad, Adam above it.
Variant `bfloat16`: autocast above the tables.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import torchrec
from torch import nn
from torchrec.modules.fused_embedding_modules import FusedEmbeddingBagCollection
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor

from benchmarks.upstream_peers.data import CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace


class Model(nn.Module):
    def __init__(self, sizes: list[int], numbers: int) -> None:
        super().__init__()
        tables = [
            torchrec.EmbeddingBagConfig(
                name=f"t{i}",
                embedding_dim=WIDTH,
                num_embeddings=size,
                feature_names=[CATEGORICAL[i]],
                weight_init_min=-0.05,
                weight_init_max=0.05,
            )
            for i, size in enumerate(sizes)
        ]
        self.tables = FusedEmbeddingBagCollection(
            tables, torchrec.optim.RowWiseAdagrad, {"lr": 0.05, "eps": 1e-8}
        )
        flat = len(sizes) * WIDTH + numbers
        self.cross = torchrec.modules.crossnet.CrossNet(flat, LAYERS)
        self.mlp = torchrec.modules.mlp.MLP(flat, list(MLP))
        self.out = nn.Linear(flat + MLP[-1], 1)

    def forward(self, ids: KeyedJaggedTensor, numbers: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.tables(ids).values(), numbers], 1)
        return self.out(torch.cat([self.cross(x), self.mlp(x)], 1)).squeeze(1).float()


def main() -> None:
    pace = Pace()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    train, test = (
        pd.concat(map(pd.read_parquet, pace.train_files()), ignore_index=True),
        pd.read_parquet(pace.data / "test.parquet"),
    )
    ids_CN, test_ids_CN, sizes = [], [], []
    for name in CATEGORICAL:
        codes, values = pd.factorize(train[name])
        ids_CN.append(codes + 1)
        test_ids_CN.append(pd.Index(values).get_indexer(test[name]) + 1)  # 0: not seen in training
        sizes.append(len(values) + 1)
    logs = [np.log1p(frame[NUMERIC].to_numpy()).astype(np.float32) for frame in (train, test)]
    mean, spread = logs[0].mean(0), logs[0].std(0)
    numbers, test_numbers = (torch.from_numpy((log - mean) / spread) for log in logs)
    label = torch.from_numpy(train[LABEL].to_numpy(np.float32))
    ids, test_ids = (torch.from_numpy(np.stack(columns)) for columns in (ids_CN, test_ids_CN))
    del train, test

    def jagged(ids_CB: torch.Tensor) -> KeyedJaggedTensor:
        return KeyedJaggedTensor(
            CATEGORICAL, ids_CB.reshape(-1), lengths=torch.ones(ids_CB.numel(), dtype=torch.int32)
        )

    model = Model(sizes, len(NUMERIC)).train()
    adam = torch.optim.Adam(
        [*model.cross.parameters(), *model.mlp.parameters(), *model.out.parameters()],
        lr=1e-3,
        fused=True,
    )
    half = pace.variant == "bfloat16"
    for index in torch.randperm(len(label), generator=torch.Generator().manual_seed(SEED)).split(
        BATCH
    ):
        batch, x, y = jagged(ids[:, index]), numbers[index], label[index]
        pace.step(len(y))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = model(batch, x)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, y)
        adam.zero_grad()
        loss.backward()
        adam.step()
    pace.trained()
    model.eval()
    with torch.no_grad():
        pace.done(
            torch.cat(
                [
                    model(jagged(i), x)
                    for i, x in zip(
                        test_ids.split(BATCH, 1), test_numbers.split(BATCH), strict=True
                    )
                ]
            )
        )


if __name__ == "__main__":
    main()
