"""Headwater's parts: RowStream, a thread ahead, FeatureTokens over one RowTable, mixed precision,
Optimizers.

Variant `float32` switches precision off; `kept` reads the log once before, as a second epoch or
another model finds it: its training alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.upstream_peers.data import CARDINALITIES, CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace
from headwater.events.blocks import BlockSpec
from headwater.events.stream import RowStream
from headwater.models.loading import ahead, tensors
from headwater.models.precision import Precision
from headwater.models.training import Optimizers
from headwater.nn import FeatureTensors, FeatureTokens, RunningNorm
from headwater.nn.cross import FullCrossNet
from headwater.schema import Categorical, Feature, Numeric


def narrowed(x: Tensor) -> Tensor:
    """`x` in bfloat16 where that is computed in, so that what follows casts it once and not at
    every layer.
    """
    return x.to(torch.bfloat16) if torch.is_autocast_enabled("cpu") else x


class Dcn(nn.Module):
    """DCNv2, parallel: [cross(x), MLP(x)] -> logit."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.tokens = FeatureTokens(spec.categorical, (), 0, (), WIDTH)
        self.norm = RunningNorm(spec.numeric)
        flat = self.tokens.tokens * WIDTH + spec.numeric
        self.cross = FullCrossNet(flat, LAYERS)
        self.mlp = nn.Sequential(
            nn.Linear(flat, MLP[0]), nn.ReLU(), nn.Linear(MLP[0], MLP[1]), nn.ReLU()
        )
        self.out = nn.Linear(flat + MLP[1], 1)

    def forward(self, x: FeatureTensors) -> Tensor:
        if self.training:
            self.norm.observe(x.numeric_BF)
        tokens_BF = self.tokens(x).flatten(1)
        flat_BF = narrowed(torch.cat([tokens_BF, self.norm.scaled(x.numeric_BF)], dim=1))
        out: Tensor = self.out(torch.cat([self.cross(flat_BF), self.mlp(flat_BF)], dim=1)).squeeze(
            1
        )
        return out.float()


def main() -> None:
    pace = Pace()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    precision = Precision.of("cpu", fast=pace.variant != "float32")
    features: dict[str, Feature] = {
        name: Categorical(buckets=int(8 * n))
        for name, n in zip(CATEGORICAL, CARDINALITIES, strict=True)
    }
    features |= {name: Numeric() for name in NUMERIC}
    with tempfile.TemporaryDirectory() as kept:
        stream = RowStream(pace.train_files(), features, [LABEL], kept=Path(kept))
        if pace.variant == "kept":
            for _ in stream.batches(BATCH, SEED):
                pass
        with ahead(tensors(stream, BATCH, SEED)) as batches:  # reads while the model is built
            model = Dcn(BlockSpec.of(features)).train()
            optimizers = Optimizers(model, lr=1e-3, id_lr=0.05, weight_decay=0.0)
            for step, batch in enumerate(batches):
                pace.step(len(batch.labels_BL))
                with precision.autocast():
                    logits_B = model(batch.features)
                loss = nn.functional.binary_cross_entropy_with_logits(
                    logits_B, batch.labels_BL[:, 0]
                )
                optimizers.step(loss, f"batch {step}")
    pace.trained()
    model.eval()
    test = RowStream([str(pace.data / "test.parquet")], features, [LABEL])
    with torch.no_grad(), precision.autocast():
        pace.done(torch.cat([model(batch.features) for batch in tensors(test, BATCH, None)]))


if __name__ == "__main__":
    main()
