"""torch-rechub: label-encoded ids, DataGenerator, DCNv2 with full-rank crossing, CTRTrainer."""

from __future__ import annotations

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature, SparseFeature
from torch_rechub.models.ranking import DCNv2
from torch_rechub.trainers import CTRTrainer
from torch_rechub.utils.data import DataGenerator

from benchmarks.upstream_peers.data import CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.encoded import label_encoded
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace


def main() -> None:
    pace = Pace()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    both, rows = label_encoded(pace)
    both = both.astype(dict.fromkeys(NUMERIC, np.float32))
    features = [DenseFeature(name) for name in NUMERIC]
    features += [
        SparseFeature(name, int(both[name].max()) + 1, embed_dim=WIDTH) for name in CATEGORICAL
    ]
    x = {name: both[name].to_numpy() for name in [*CATEGORICAL, *NUMERIC]}
    y = both[LABEL].to_numpy()
    del both
    generator = DataGenerator({name: values[:rows] for name, values in x.items()}, y[:rows])
    train_loader, _, test_loader = generator.generate_dataloader(
        x_val={name: values[rows:] for name, values in x.items()},
        y_val=y[rows:],
        x_test={name: values[rows:] for name, values in x.items()},
        y_test=y[rows:],
        batch_size=BATCH,
    )
    model = DCNv2(
        features,
        LAYERS,
        {"dims": list(MLP), "dropout": 0, "activation": "relu"},
        use_low_rank_mixture=False,
    )
    model.register_forward_pre_hook(
        lambda module, inputs: (
            pace.step(len(inputs[0][CATEGORICAL[0]])) if module.training else None
        )
    )
    trainer = CTRTrainer(model, optimizer_params={"lr": 1e-3}, n_epoch=1, device="cpu")
    trainer.train_one_epoch(train_loader)
    pace.trained()
    pace.done(trainer.predict(model, test_loader))


if __name__ == "__main__":
    main()
