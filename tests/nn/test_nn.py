"""Blocks, tables, losses: slow twins and hand numbers."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from headwater.nn import (
    CrossNet,
    FeatureTensors,
    FeatureTokens,
    HistoryTensors,
    HistoryTokens,
    RowTable,
    RowwiseAdagrad,
    RunningNorm,
    SequenceEncoder,
    masked_bce,
)


def test_row_table_and_adagrad_match_a_dense_twin() -> None:
    torch.manual_seed(0)
    table = RowTable(6, 3)
    twin, squares = table.weight.clone().requires_grad_(), torch.zeros(6)
    optimizer = RowwiseAdagrad([table], lr=0.1)
    for ids in ([[0, 1], [1, 5]], [[5, 5], [2, 0]]):
        ids_t, target = torch.tensor(ids), torch.randn(2, 2, 3)
        ((table(ids_t) - target) ** 2).sum().backward()
        optimizer.step()
        loss = ((nn.functional.embedding(ids_t, twin) - target) ** 2).sum()
        (gradient,) = torch.autograd.grad(loss, twin)
        for row in range(6):
            if gradient[row].abs().sum() > 0:
                squares[row] += (gradient[row] ** 2).mean()
                twin.data[row] -= 0.1 * gradient[row] / (squares[row].sqrt() + 1e-8)
    torch.testing.assert_close(table.weight, twin.detach())
    assert table.weight.grad is None


def test_a_row_read_by_several_look_ups_moves_once_by_the_sum_of_its_gradients() -> None:
    table = RowTable(4, 2)
    before = table.weight.clone()
    (3 * table(torch.tensor([[1, 2], [1, 1]])).sum() + table(torch.tensor([1])).sum()).backward()
    RowwiseAdagrad([table], lr=0.5).step()
    torch.testing.assert_close(
        table.squares, torch.tensor([0.0, 100.0, 9.0, 0.0])
    )  # row 1: 3 + 3 + 3 + 1
    torch.testing.assert_close(
        before - table.weight, torch.tensor([[0.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 0.0]])
    )
    RowwiseAdagrad([table], lr=0.5).step()
    torch.testing.assert_close(table.squares[1], torch.tensor(100.0))  # a gradient is used once


def test_a_look_up_that_is_not_learnt_leaves_nothing() -> None:
    table = RowTable(4, 2)
    with torch.no_grad():
        table(torch.tensor([1]))
    assert not table.eval()(torch.tensor([1])).requires_grad
    table.train()(torch.tensor([2]))  # no backward
    assert table.pop_gradients() is None


def test_rows_that_were_not_seen_do_not_move() -> None:
    table = RowTable(5, 2)
    before = table.weight.clone()
    table(torch.tensor([1, 3])).sum().backward()
    RowwiseAdagrad([table], lr=1.0).step()
    moved = (table.weight != before).any(dim=1)
    assert moved.tolist() == [False, True, False, True, False]


def test_running_norm_matches_numpy_over_all_days() -> None:
    days = [
        np.random.default_rng(n).normal(5 * n, 1 + n, (50, 2)).astype(np.float32) for n in range(3)
    ]
    days[0][3, 1] = np.nan
    norm = RunningNorm(2)
    for rows in days:
        norm.observe(torch.from_numpy(rows))
    whole = np.concatenate(days)
    np.testing.assert_allclose(norm.mean, np.nanmean(whole, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        (norm.spread / norm.count).sqrt(), np.nanstd(whole, axis=0), rtol=1e-6
    )
    out = norm(torch.tensor([[float("nan"), 5.0]]))
    assert out[0, 0] == 0
    assert out[0, 2:].tolist() == [1, 0]
    some = torch.from_numpy(days[0])
    torch.testing.assert_close(norm.scaled(some), norm(some)[:, :2], rtol=0, atol=0)


def test_running_norm_forgets_by_half_in_thirty_days() -> None:
    """Against every row kept with its weight; a number that is missing for days waits for them."""
    generator = np.random.default_rng(2)
    days = [
        np.stack([generator.normal(day, 2, 40), generator.normal(-day, 1, 40)], axis=1)
        for day in range(90)
    ]
    for rows in days[10:50]:
        rows[:, 1] = np.nan
    norm = RunningNorm(2)
    for rows in days:
        for piece in np.array_split(rows.astype(np.float32), 3):
            norm.observe(torch.from_numpy(piece))
        norm.learn()
    for feature in range(2):
        present = [rows[:, feature] for rows in days if not np.isnan(rows[:, feature]).any()]
        weights = np.repeat(0.5 ** (np.arange(len(present))[::-1] / 30), 40)
        values = np.concatenate(present)
        mean = np.average(values, weights=weights)
        variance = np.average((values - mean) ** 2, weights=weights)
        asked = torch.full((1, 2), 3.0)
        assert norm.mean[feature].item() == pytest.approx(mean, rel=1e-6)
        assert norm.scaled(asked)[0, feature].item() == pytest.approx(
            (3 - mean) / variance**0.5, rel=1e-4
        )


def test_after_a_year_a_number_still_has_its_spread() -> None:
    """A slow drift leaves today's rows apart; a jump of level is of use again within days."""
    generator = np.random.default_rng(3)
    norm = RunningNorm(2)
    for day in range(2 * 365):
        level = np.array([0.02 * day, 50.0 * (day >= 725)])
        rows = torch.from_numpy(generator.normal(level, 1, (100, 2)).astype(np.float32))
        norm.observe(rows)
        norm.learn()
    today = norm.scaled(rows)
    assert today[:, 0].std() > 0.6
    assert today[:, 1].abs().max() < 5


def test_running_norm_goes_on_from_a_checkpoint() -> None:
    rows = torch.from_numpy(np.random.default_rng(4).normal(0, 1, (9, 20, 2)).astype(np.float32))
    through, resumed = RunningNorm(2), RunningNorm(2)
    for day in range(9):
        through.observe(rows[day])
        through.learn()
        if day == 5:
            resumed.load_state_dict(copy.deepcopy(through.state_dict()))
        elif day > 5:
            resumed.observe(rows[day])
            resumed.learn()
    assert all(
        torch.equal(value, resumed.state_dict()[name])
        for name, value in through.state_dict().items()
    )


def test_cross_layer_by_hand() -> None:
    net = CrossNet(2, layers=1, rank=1)
    with torch.no_grad():
        net.down[0].weight.copy_(torch.tensor([[1.0, 2.0]]))
        net.up[0].weight.copy_(torch.tensor([[3.0], [4.0]]))
        net.up[0].bias.copy_(torch.tensor([0.5, -0.5]))
    # V x = 1*2 + 2*5 = 12; U V x + b = (36.5, 47.5); x0 * that + x = (2*36.5 + 2, 5*47.5 + 5)
    assert net(torch.tensor([[2.0, 5.0]])).tolist() == [[75.0, 242.5]]


def test_masked_bce_counts_defined_rows_only() -> None:
    loss = masked_bce(torch.tensor([0.0, 9.0]), torch.tensor([1.0, float("nan")]))
    assert loss.item() == pytest.approx(math.log(2))


def tokens_of(**changes) -> FeatureTensors:
    base = {
        "categorical_BC": torch.tensor([[1], [2]]),
        "multi_BK": (torch.tensor([[1, 2], [0, 0]]),),
        "numeric_BF": torch.ones(2, 1),
        "vectors_BD": (torch.ones(2, 3),),
    }
    return FeatureTensors(**(base | changes))


def test_feature_tokens_average_the_values_of_one_cell() -> None:
    block = FeatureTokens([3], [4], 1, [3], width=2).eval()
    out = block(tokens_of())
    assert out.shape == (2, block.tokens, 2) == (2, 5, 2)
    torch.testing.assert_close(out[0, 0], block.table.weight[1])
    torch.testing.assert_close(
        out[0, 1], (block.table.weight[3 + 1] + block.table.weight[3 + 2]) / 2
    )
    torch.testing.assert_close(
        out[1, 1], block.table.weight[3]
    )  # an empty cell is "missing", slot 0


def test_history_tokens_ignore_padding_and_survive_an_empty_history() -> None:
    torch.manual_seed(0)
    ids, block = RowTable(10, 4).eval(), HistoryTokens(actions=1, width=4).eval()

    def of(slots, actions, gaps):
        return block(
            HistoryTensors(
                torch.tensor([slots]),
                torch.tensor([actions], dtype=torch.uint8),
                torch.tensor([gaps]),
            ),
            ids,
        )

    short = of([3, 0, 0], [1, 0, 0], [60.0, float("nan"), float("nan")])
    noisy = of([3, 0, 0], [1, 1, 1], [60.0, 5.0, 9.0])
    torch.testing.assert_close(short, noisy)
    assert torch.isfinite(of([0, 0, 0], [0, 0, 0], [float("nan")] * 3)).all()
    assert not torch.allclose(short, of([3, 0, 0], [0, 0, 0], [60.0, float("nan"), float("nan")]))


def test_sequence_encoder_ignores_padding_and_sees_order_and_candidate() -> None:
    torch.manual_seed(0)
    encoder, table = (
        SequenceEncoder(actions=1, width=8, length=4, layers=2, heads=2).eval(),
        RowTable(20, 8, scale=1.0).eval(),
    )
    candidate = torch.randn(3, 8)

    def run(slots: list[list[int]], candidate: torch.Tensor = candidate) -> torch.Tensor:
        n, length = len(slots), len(slots[0])
        return encoder(
            HistoryTensors(
                torch.tensor(slots), torch.zeros(n, length), torch.full((n, length), float("nan"))
            ),
            table,
            candidate,
        )

    padded = run([[3, 5, 0, 0], [5, 3, 0, 0], [0, 0, 0, 0]])
    assert padded.shape == (3, 2, 8)
    assert torch.isfinite(padded).all()
    torch.testing.assert_close(
        padded[:2], run([[3, 5], [5, 3]], candidate[:2])
    )  # padding adds nothing
    assert not torch.allclose(padded[0, 1], run([[5, 3]], candidate[:1])[0, 1])  # order counts
    assert torch.equal(padded[2, 1], torch.zeros(8))  # no events: the candidate alone
    assert not torch.allclose(
        padded[0, 0], run([[3, 5, 0, 0]], candidate[1:2])[0, 0]
    )  # the candidate is among what is attended
