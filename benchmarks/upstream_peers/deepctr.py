"""DeepCTR-Torch: label-encoded ids as its guide shows, DCN with matrix crossing, `fit`."""

from __future__ import annotations

import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat, get_feature_names
from deepctr_torch.models import DCN

from benchmarks.upstream_peers.data import CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.encoded import label_encoded
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace


def main() -> None:
    pace = Pace()
    torch.set_num_threads(THREADS)
    both, rows = label_encoded(pace)
    columns = [
        SparseFeat(name, int(both[name].max()) + 1, embedding_dim=WIDTH) for name in CATEGORICAL
    ] + [DenseFeat(name, 1) for name in NUMERIC]
    names = get_feature_names(columns)
    train, test = both[:rows], both[rows:]
    model = DCN(
        [],
        columns,
        cross_num=LAYERS,
        cross_parameterization="matrix",
        dnn_hidden_units=MLP,
        l2_reg_linear=0,
        l2_reg_embedding=0,
        l2_reg_cross=0,
        init_std=0.05,
        seed=SEED,
    )
    model.compile("adam", "binary_crossentropy", metrics=[])
    model.register_forward_pre_hook(
        lambda module, inputs: pace.step(len(inputs[0])) if module.training else None
    )
    model.fit(
        {name: train[name].to_numpy() for name in names},
        train[LABEL].to_numpy(),
        batch_size=BATCH,
        epochs=1,
        verbose=0,
    )
    pace.trained()
    pace.done(model.predict({name: test[name].to_numpy() for name in names}, BATCH))


if __name__ == "__main__":
    main()
