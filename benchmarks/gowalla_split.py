"""Gowalla's published split (gowalla_m1 of BARS): its pairs, its protocol, and a closed form to
compare with.

The 50 most popular train items are 5.6 % of its test pairs but 3.8 % of its train pairs, so a
random cut of the train pairs is no exact likeness of the test.

Shape suffixes: U users, I items, B users of a batch, D width, K cut-off.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds
from torch import Tensor, nn

TOP = 20
PUBLISHED = {  # Recall@20, NDCG@20; BARS leaderboard, gowalla_m1
    "MF-BPR": (0.1627, 0.1378),
    "YoutubeDNN (two towers)": (0.1754, 0.1473),
    "LightGCN": (0.1820, 0.1547),
    "UltraGCN": (0.1862, 0.1580),
    "SimpleX": (0.1872, 0.1557),
}


class Bags(NamedTuple):
    """For each entity the others it met: `members[offsets[n] : offsets[n + 1]]` are those of entity
    n.
    """

    members: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, owners: np.ndarray, members: np.ndarray, count: int) -> Bags:
        ends = np.bincount(owners, minlength=count).cumsum()
        return cls(
            torch.from_numpy(members[np.argsort(owners, kind="stable")]),
            torch.from_numpy(np.r_[0, ends]),
        )

    def sums(self, vectors: Tensor) -> Tensor:
        return nn.functional.embedding_bag(
            self.members, vectors, self.offsets, mode="sum", include_last_offset=True
        )

    @property
    def sizes(self) -> Tensor:
        return self.offsets.diff()


def load(folder: Path, validate: bool) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Pairs to learn from, pairs to be found, and how many users and items there are. With
    `validate` both come out of the train pairs.
    """
    file = folder / "gowalla" / "interactions.parquet"
    if not file.exists():
        raise SystemExit(
            f"Gowalla is not here: {file} is missing. Name a folder that holds"
            " gowalla/interactions.parquet (columns user, item, split: train or test, the"
            " gowalla_m1 split of the BARS benchmark) with --data or HEADWATER_DATA."
        )
    table = pl.read_parquet(file).with_columns(pl.col("user", "item").cast(pl.Int64))
    known, hidden = (
        table.filter(pl.col("split") == name).select("user", "item").to_numpy()
        for name in ("train", "test")
    )
    counts = int(table["user"].max()) + 1, int(table["item"].max()) + 1  # type: ignore[arg-type]
    if not validate:
        return known, hidden, counts
    known = known[np.lexsort((np.random.default_rng(7).random(len(known)), known[:, 0]))]
    sizes = np.bincount(known[:, 0], minlength=counts[0])
    held = (
        np.arange(len(known)) - (sizes.cumsum() - sizes)[known[:, 0]]
        < np.round(sizes * 0.1)[known[:, 0]]
    )
    return known[~held], known[held], counts


def judge(
    user_UD: Tensor, item_ID: Tensor, prior_I: Tensor, seen: Bags, wanted: Bags
) -> tuple[float, float]:
    """Recall@20 (hits / all wanted) and NDCG@20, means over the users who want something; what was
    seen is never ranked.
    """
    recall, ndcg, gains_K = 0.0, 0.0, 1 / torch.arange(2, TOP + 2).float().log2()
    rows_U = wanted.sizes.nonzero(as_tuple=True)[0]
    for rows in rows_U.split(1000):
        scores_BI = user_UD[rows] @ item_ID.T + prior_I
        marks_BI = torch.zeros(scores_BI.shape, dtype=torch.bool)
        for at, user in enumerate(rows.tolist()):
            scores_BI[at, seen.members[seen.offsets[user] : seen.offsets[user + 1]]] = -torch.inf
            marks_BI[at, wanted.members[wanted.offsets[user] : wanted.offsets[user + 1]]] = True
        hits_BK, sizes_B = (
            marks_BI.gather(1, scores_BI.topk(TOP).indices).float(),
            wanted.sizes[rows],
        )
        recall += float((hits_BK.sum(1) / sizes_B).sum())
        ndcg += float((hits_BK @ gains_K / gains_K.cumsum(0)[sizes_B.clamp(max=TOP) - 1]).sum())
    return recall / len(rows_U), ndcg / len(rows_U)


def low_pass(pairs: np.ndarray, users: Bags, items: Bags, width: int) -> tuple[Tensor, Tensor]:
    """A closed form to compare with: the `width` smoothest directions of the normalised graph (the
    ideal low-pass filter of GF-CF, Shen et al. 2021).
    """
    of_user, of_item = (bags.sizes.clamp(min=1).numpy() ** 0.5 for bags in (users, items))
    values = 1 / (of_user[pairs[:, 0]] * of_item[pairs[:, 1]])
    _, _, directions_DI = svds(
        csr_array((values, (pairs[:, 0], pairs[:, 1])), shape=(len(of_user), len(of_item))),
        k=width,
        random_state=0,
    )
    item_ID = torch.from_numpy(np.ascontiguousarray(directions_DI.T)).float()
    return (
        users.sums(item_ID / torch.from_numpy(of_item).float()[:, None]),
        item_ID * torch.from_numpy(of_item).float()[:, None],
    )
