"""Towers trained with the contrastive loss alone, on gowalla's published split (gowalla_m1 of
BARS), beside the published figures.

    python -m benchmarks.upstream_gowalla [--data DIR] [--seed 0] [--epochs 4]
        [--threads 2] [--validate]

Full ranking over all items, a user's train items masked; mean over users of Recall@20 and NDCG@20;
64 dimensions. DIR (default: the environment's HEADWATER_DATA) holds gowalla/interactions.parquet:
user, item, split (train or test).

Settings were compared on a tenth of each user's train pairs (the cut --validate makes; Recall@20),
not on the test pairs; docs/benchmarks.md lists what was tried. What helped: reading the graph
instead of ids alone, leaving out a pair's own edge, a third hop, ids that weigh less beside the
hops and decay, and the same prior of popularity in training as in ranking.

Shape suffixes: U users, I items, N either, B pairs of a batch, D width.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.gowalla_split import PUBLISHED, Bags, judge, load, low_pass
from headwater.models.training import batches, seeded
from headwater.nn import RowTable, RowwiseAdagrad
from headwater.nn.losses import StreamingFrequency, contrastive_loss

WIDTH = 64
STEP_ROWS, LOSS_ROWS = (
    4096,
    1024,
)  # pairs a step learns from, and how many of them are each other's negatives
TEMPERATURE, LEARNING_RATE, WEIGHT_DECAY, SCALE = 0.1, 0.1, 0.06, 0.05
HOPS, HOP_WEIGHT = (
    3,
    8.0,
)  # how far a tower reads, and what a hop counts beside the entity's own vector
PRIOR, POPULARITY = (
    0.5,
    0.625,
)  # weight of log popularity beside cosine / temperature: when learning, and when ranking


class Graph:
    """Who met whom, both ways. A hop is `x_u = sum_i y_i / sqrt(n_u n_i)`, and the same from the
    items' side (LightGCN, He et al. 2020).
    """

    def __init__(self, users: Bags, items: Bags) -> None:
        self.bags = users, items
        self.damping = [bags.sizes.clamp(min=1).float().rsqrt() for bags in self.bags]
        of_user, of_item = self.damping
        self.weights = [
            own.repeat_interleave(bags.sizes) * other[bags.members]
            for bags, own, other in ((users, of_user, of_item), (items, of_item, of_user))
        ]

    def hop(self, user_UD: Tensor, item_ID: Tensor) -> tuple[Tensor, Tensor]:
        vectors = zip(self.bags, self.weights, (item_ID, user_UD), strict=True)
        to_user, to_item = (
            nn.functional.embedding_bag(
                bags.members,
                met,
                bags.offsets,
                mode="sum",
                per_sample_weights=weights,
                include_last_offset=True,
            )
            for bags, weights, met in vectors
        )
        return to_user, to_item


class Hop(torch.autograd.Function):
    """A hop is symmetric: its gradient is the same hop over the gradients. No scatter, the same
    bytes each time.
    """

    @staticmethod
    def forward(ctx: Any, user_UD: Tensor, item_ID: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        ctx.graph = graph
        return graph.hop(user_UD, item_ID)

    @staticmethod
    def backward(ctx: Any, user_UD: Tensor, item_ID: Tensor) -> tuple[Tensor, Tensor, None]:
        return *ctx.graph.hop(user_UD.contiguous(), item_ID.contiguous()), None


hop: Callable[[Tensor, Tensor, Graph], tuple[Tensor, Tensor]] = Hop.apply


class Towers(nn.Module):
    """An entity's vector: its id's, and HOP_WEIGHT times the sum of what one hop, two hops...
    bring; L2-normalised by whoever scores with it.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.users, self.items = (RowTable(len(bags.sizes), WIDTH, SCALE) for bags in graph.bags)

    def forward(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Vectors of all users and of all items, [U, D] and [I, D]; then what the last hop handed
        on, likewise.
        """
        x_UD, y_ID = (table(torch.arange(len(table.weight))) for table in (self.users, self.items))
        from_UD, from_ID = x_UD, y_ID
        for _ in range(HOPS - 1):
            near_UD, near_ID = hop(from_UD, from_ID, self.graph)
            from_UD, from_ID = x_UD + near_UD, y_ID + near_ID
        near_UD, near_ID = hop(from_UD, from_ID, self.graph)
        return x_UD + HOP_WEIGHT * near_UD, y_ID + HOP_WEIGHT * near_ID, from_UD, from_ID

    def pairs(self, u_B: Tensor, i_B: Tensor, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Unit vectors of pairs, each without what its own edge hands on: to be found, a positive
        must not be in the history that is read.
        """
        user_UD, item_ID, from_UD, from_ID = vectors
        of_user, of_item = self.graph.damping
        weight_B1 = (HOP_WEIGHT * of_user[u_B] * of_item[i_B])[:, None]
        user_BD = nn.functional.embedding(u_B, user_UD) - weight_B1 * nn.functional.embedding(
            i_B, from_ID
        )
        item_BD = nn.functional.embedding(i_B, item_ID) - weight_B1 * nn.functional.embedding(
            u_B, from_UD
        )
        return nn.functional.normalize(user_BD, dim=1), nn.functional.normalize(item_BD, dim=1)


def learn(towers: Towers, u_B: Tensor, i_B: Tensor, frequency: StreamingFrequency) -> float:
    """Gradients of one step's pairs, LOSS_ROWS of them each other's negatives; the backward of the
    hops runs once.
    """
    vectors = towers()
    leaves = [vectors_ND.detach().requires_grad_() for vectors_ND in vectors]
    pairs, total = towers.pairs(u_B, i_B, leaves), 0.0
    ends = [pair_BD.detach().requires_grad_() for pair_BD in pairs]
    for user_BD, item_BD, keys_B in zip(
        *(end.split(LOSS_ROWS) for end in ends), i_B.split(LOSS_ROWS), strict=True
    ):
        positive_B = torch.ones(len(keys_B), dtype=torch.bool)
        log_q_B = frequency.observe(
            keys_B
        )  # taken off in full, for the batch's sake; PRIOR of it belongs to the score
        loss = contrastive_loss(
            user_BD, item_BD, keys_B, positive_B, (1 - PRIOR) * log_q_B, TEMPERATURE
        ) * (len(keys_B) / len(i_B))
        loss.backward()
        total += loss.item()
    torch.autograd.backward(pairs, [end.grad for end in ends])
    torch.autograd.backward(vectors, [leaf.grad for leaf in leaves])
    return total


def train(pairs: np.ndarray, towers: Towers, epochs: int, seed: int) -> None:
    """Each step: all vectors, the loss over STEP_ROWS pairs, one update; the learning rate falls to
    zero in a straight line.
    """
    towers.train()
    frequency, adagrad = (
        StreamingFrequency(len(towers.items.weight)),
        RowwiseAdagrad([towers.users, towers.items], LEARNING_RATE),
    )
    pairs_N2, start = torch.from_numpy(pairs), time.perf_counter()
    for epoch in range(epochs):
        steps, total = list(batches(len(pairs), STEP_ROWS, seeded(seed, epoch))), 0.0
        for step, rows in enumerate(steps):
            total += learn(towers, *pairs_N2[rows].unbind(1), frequency) / len(steps)
            adagrad.lr = LEARNING_RATE * (1 - (epoch + step / len(steps)) / epochs)
            adagrad.step()
            with torch.no_grad():
                for table in adagrad.tables:
                    table.weight.mul_(1 - adagrad.lr * WEIGHT_DECAY)
        spent = f"{time.perf_counter() - start:5.0f} s   {time.process_time():5.0f} s of processor"
        print(f"epoch {epoch + 1:2}   loss {total:.4f}   {spent}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HEADWATER_DATA", "data")))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--validate",
        action="store_true",
        help="hold out a tenth of the train pairs instead of reading the test pairs",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    pairs, hidden, (user_count, item_count) = load(options.data, options.validate)
    users, items = (
        Bags.of(pairs[:, 0], pairs[:, 1], user_count),
        Bags.of(pairs[:, 1], pairs[:, 0], item_count),
    )
    wanted, popularity_I = (
        Bags.of(hidden[:, 0], hidden[:, 1], user_count),
        items.sizes.clamp(min=0.5).log(),
    )
    towers = Towers(Graph(users, items))
    train(pairs, towers, options.epochs, options.seed)
    with torch.no_grad():
        user_UD, item_ID = (
            nn.functional.normalize(vectors_ND, dim=1) for vectors_ND in towers.eval()()[:2]
        )
    flat, flat_I = (torch.zeros(user_count, 1), torch.zeros(item_count, 1)), torch.zeros(item_count)
    measured = {
        "contrastive towers": judge(
            user_UD / TEMPERATURE, item_ID, POPULARITY * popularity_I, users, wanted
        ),
        "contrastive towers, cosine alone": judge(user_UD, item_ID, flat_I, users, wanted),
        "popularity": judge(*flat, popularity_I, users, wanted),
        "low-pass filter (closed form)": judge(
            *low_pass(pairs, users, items, WIDTH), flat_I, users, wanted
        ),
    }
    published = (
        {}
        if options.validate
        else {f"{name}, published": figures for name, figures in PUBLISHED.items()}
    )
    for name, (recall, ndcg) in sorted((published | measured).items(), key=lambda entry: entry[1]):
        print(f"{name:36} Recall@20 {recall:.4f}   NDCG@20 {ndcg:.4f}")


if __name__ == "__main__":
    main()
