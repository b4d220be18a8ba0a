"""A hand-written loop over tensors in memory: one table, row-wise Adagrad on a batch's rows,
bfloat16, fused Adam. `dense`: Adam on all, float32.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from benchmarks.upstream_peers.data import CATEGORICAL, LABEL, NUMERIC
from benchmarks.upstream_peers.pace import BATCH, LAYERS, MLP, SEED, THREADS, WIDTH, Pace

EVAL_ROWS = 4096


class Net(nn.Module):
    def __init__(self, flat: int) -> None:
        super().__init__()
        self.cross = nn.ModuleList(nn.Linear(flat, flat) for _ in range(LAYERS))
        self.mlp = nn.Sequential(
            nn.Linear(flat, MLP[0]), nn.ReLU(), nn.Linear(MLP[0], MLP[1]), nn.ReLU()
        )
        self.out = nn.Linear(flat + MLP[1], 1)

    def forward(self, x0: Tensor) -> Tensor:
        x = x0
        for layer in self.cross:
            x = x0 * layer(x) + x
        out: Tensor = self.out(torch.cat([x, self.mlp(x0)], 1)).squeeze(1)
        return out


def load(pace: Pace) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, int]:
    """Ids as offsets into one table (0: not seen in training), scaled numbers and labels of the
    training rows; ids and numbers of the test.
    """
    train, test = pl.read_parquet(pace.train_files()), pl.read_parquet(pace.data / "test.parquet")
    start, ids, test_ids = 1, [], []
    for name in CATEGORICAL:
        values = train[name].unique()
        numbers = pl.DataFrame(
            {name: values, "id": pl.Series(np.arange(start, start + len(values)))}
        )
        ids.append(
            train.select(name)
            .join(numbers, on=name, how="left", maintain_order="left")["id"]
            .to_numpy()
        )
        test_ids.append(
            test.select(name)
            .join(numbers, on=name, how="left", maintain_order="left")["id"]
            .fill_null(0)
            .to_numpy()
        )
        start += len(values)
    logs = [
        np.log1p(frame.select(NUMERIC).to_numpy()).astype(np.float32) for frame in (train, test)
    ]
    mean, spread = logs[0].mean(0), logs[0].std(0)
    numbers_NF, test_NF = (torch.from_numpy((log - mean) / spread) for log in logs)
    label = torch.from_numpy(train[LABEL].to_numpy().astype(np.float32))
    return (
        torch.from_numpy(np.stack(ids, 1)),
        numbers_NF,
        label,
        torch.from_numpy(np.stack(test_ids, 1)),
        test_NF,
        start,
    )


def main() -> None:
    pace = Pace()
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    half = pace.variant != "dense"
    ids, numbers, label, test_ids, test_numbers, rows = load(pace)
    table, squares = torch.randn(rows, WIDTH) * 0.05, torch.zeros(rows)
    net = Net(ids.shape[1] * WIDTH + numbers.shape[1])
    parameters = list(net.parameters())
    if not half:
        parameters.append(table.requires_grad_())
    adam = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    for index in torch.randperm(len(label), generator=torch.Generator().manual_seed(SEED)).split(
        BATCH
    ):
        batch, y = ids[index], label[index]
        pace.step(len(y))
        adam.zero_grad()
        found = nn.functional.embedding(batch, table)
        if half:
            found = found.requires_grad_()
        x = torch.cat([found.flatten(1), numbers[index]], 1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = net(x.bfloat16() if half else x)
        loss = nn.functional.binary_cross_entropy_with_logits(logits.float(), y)
        loss.backward()
        adam.step()
        if half:
            with torch.no_grad():
                distinct, place = torch.unique(batch, return_inverse=True)
                gradient = torch.zeros(len(distinct), WIDTH).index_add_(
                    0, place.view(-1), found.grad.view(-1, WIDTH)
                )
                total = squares[distinct] + gradient.square().mean(1)
                squares[distinct] = total
                table.index_add_(0, distinct, gradient * (-0.05 / (total.sqrt() + 1e-8))[:, None])
    pace.trained()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        parts = [
            net(torch.cat([nn.functional.embedding(i, table).flatten(1), n], 1)).float()
            for i, n in zip(test_ids.split(EVAL_ROWS), test_numbers.split(EVAL_ROWS), strict=True)
        ]
        pace.done(torch.cat(parts))


if __name__ == "__main__":
    main()
