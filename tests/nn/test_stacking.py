"""Modules trained as one are what they would have become one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headwater.models.downstream import RANKERS, SequenceSpec
from headwater.models.training import MOST_NORM, Optimizers, begin
from headwater.nn import RowTable, SeededDropout, Stack, masked_bce
from headwater.testing.rankers import CONFIG, SPECS, WIDTHS, inputs_of

SEEDS = (3, 1, 2)
ROWS, BATCH, STEPS = 4000, 64, 200


def ranker(kind: str, seed: int, dropout: float = 0.2) -> nn.Module:
    """In float64, and it has seen the scale of some rows."""
    begin(seed)
    projection = CONFIG.projection.model_copy(update={"dropout": dropout})
    changes = {
        "dropout": dropout if kind == "moe_dcn" else 0.0,
        "projection": projection,
        "feature_width": 8,
        "hidden": 16,
    }
    config = CONFIG.model_copy(update=changes)
    made = RANKERS[kind](SPECS, config, tuple(WIDTHS), WIDTHS, SequenceSpec("item", 1)).double()
    for name, block in inputs_of(200, 1).blocks.items():
        made.features[name].observe(block)
    return made


def trained(stack: Stack, seeds, steps: int = STEPS) -> Stack:
    """Each seed has an order of its own over the same rows, of which some vectors tell."""
    x = inputs_of(ROWS, 2)
    wanted_NK = (x.read["ctr_user"].vectors_BD[:, :2] > 0).double()
    orders = {seed: torch.Generator().manual_seed(seed) for seed in seeds}
    optimizers = Optimizers(stack.module, 1e-3, 0.03, 1e-2)
    stack.module.train()
    for module in stack.module.modules():
        if isinstance(module, SeededDropout):
            module.begin(seeds)
    for _ in range(steps):
        index_SB = torch.stack(
            [torch.randperm(ROWS, generator=orders[seed])[:BATCH] for seed in seeds]
        )
        logits_SBK = stack(picked(x), index_SB)
        losses = [masked_bce(logits_SBK[..., k], wanted_NK[index_SB][..., k]) for k in range(2)]
        optimizers.step_each(torch.stack(losses).sum(0), [f"seed {seed}" for seed in seeds])
    return stack


def picked(x):
    """The arguments of a ranker for some rows, in float64."""

    def pick(index):
        rows = x.rows(index)
        return doubled(rows.blocks), doubled(rows.read), doubled(rows.history)

    return pick


def doubled(tree):
    if isinstance(tree, torch.Tensor):
        return tree.double() if tree.is_floating_point() else tree
    if isinstance(tree, dict):
        return {name: doubled(value) for name, value in tree.items()}
    if hasattr(tree, "_fields"):
        return type(tree)(*map(doubled, tree))
    return tuple(map(doubled, tree)) if isinstance(tree, tuple) else tree


@pytest.mark.parametrize("kind", RANKERS)
@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "in-turn"])
def test_in_float64_a_stack_learns_what_its_members_would_alone(kind, at_once) -> None:
    stack = Stack([ranker(kind, seed) for seed in SEEDS])
    stack.at_once = at_once
    trained(stack, SEEDS)
    x, rows = picked(inputs_of(50, 7)), torch.arange(50)
    together_SBK = stack(x, rows)
    whole = stack.module.state_dict()
    for place, seed in enumerate(SEEDS):
        alone = trained(Stack([ranker(kind, seed)]), [seed])
        torch.testing.assert_close(together_SBK[place], alone(x, rows)[0], rtol=0, atol=1e-8)
        for name, value in alone.module.named_parameters():
            torch.testing.assert_close(whole[name][place], value[0], rtol=0, atol=1e-8)
        for name, module in alone.module.named_modules():
            if isinstance(module, RowTable):
                size = len(module.weight)
                mine = slice(place * size, (place + 1) * size)
                for part in ("weight", "squares"):
                    found = whole[f"{name}.{part}"][mine]
                    torch.testing.assert_close(found, getattr(module, part), rtol=0, atol=1e-8)


def test_a_step_touches_the_rows_of_its_batch_and_no_other_member() -> None:
    torch.manual_seed(0)
    stack = Stack([RowTable(5, 2) for _ in range(3)])
    before = stack.module.weight.clone()
    stack.module.train()
    out_SBE = stack(lambda rows: (rows,), torch.tensor([[0, 1], [1, 1], [4, 0]]))
    torch.testing.assert_close(out_SBE[2, 0], before[2 * 5 + 4])
    out_SBE[:2].sum().backward()
    found = stack.module.pop_gradients()
    assert found is not None
    rows_U, gradient_UE = found
    assert rows_U.tolist() == [0, 1, 6, 10, 14]  # five rows a member
    assert gradient_UE[:, 0].tolist() == [1, 1, 2, 0, 0]


def test_each_member_has_its_own_length_of_gradient_and_its_own_fault() -> None:
    stack = Stack([nn.Linear(1, 1, bias=False) for _ in range(3)])
    optimizers = Optimizers(stack.module, 0.0, 0.0, 0.0)
    where = ["seed 0", "seed 1", "seed 2"]
    factors_S = torch.tensor([1.0, 100.0, 5.0])
    weight_S = stack.module.weight[:, 0, 0]
    optimizers.step_each(factors_S * weight_S, where)
    assert stack.module.weight.grad[:, 0, 0].tolist() == pytest.approx([1, MOST_NORM, 5], rel=1e-4)
    with pytest.raises(Exception, match="seed 1: the loss is nan"):
        optimizers.step_each(torch.tensor([0.0, torch.nan, 0.0]) + weight_S, where)


def test_members_drop_out_apart_and_the_same_again() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        stack = Stack([nn.Sequential(nn.Linear(1, 30), nn.Dropout()) for _ in range(2)])
        found.append(stack(lambda rows: (torch.ones(9, 1)[rows],), torch.arange(9)))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert not torch.equal(found[0][0] == 0, found[0][1] == 0)


def test_a_seeded_dropout_drops_its_share_of_each_place_and_keeps_the_mean() -> None:
    drop = SeededDropout(0.3).train()
    drop.begin([7])
    x_NF = torch.ones(400, 50)
    passes_PNF = torch.stack([drop(x_NF) for _ in range(20)])
    assert sorted(passes_PNF.unique().tolist()) == pytest.approx([0, 1 / 0.7])
    assert passes_PNF.mean().item() == pytest.approx(1, abs=0.01)
    assert (
        passes_PNF.mean(0) - 1
    ).abs().max() < 0.85  # twenty draws of a place: no place is spared
    kept = (passes_PNF > 0).double().flatten(1)
    together = torch.corrcoef(kept) - torch.eye(20)
    assert together.abs().max() < 0.035  # 20,000 places: five deviations
    drop.begin([8])
    assert not torch.equal(drop(x_NF), passes_PNF[0])
    drop.begin([7])
    assert torch.equal(drop(x_NF), passes_PNF[0])
    assert torch.equal(drop.eval()(x_NF), x_NF)


class Deciding(nn.Module):
    """A stranger's module whose code looks at its data."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x_BF):
        self.seen += len(x_BF)
        return self.map(x_BF) * (2 if x_BF.sum() > 0 else 1)


def test_what_cannot_go_at_once_goes_one_by_one() -> None:
    torch.manual_seed(0)
    members = [Deciding() for _ in range(2)]
    twins = [nn.Linear(2, 1) for _ in range(2)]
    for twin, member in zip(twins, members, strict=True):
        twin.load_state_dict(member.map.state_dict())
    stack, x_NF = Stack(members), torch.randn(8, 2)
    index_SB = torch.tensor([[0, 1, 2], [3, 4, 5]])
    stack.try_at_once(lambda rows: (x_NF[rows],), index_SB)
    assert not stack.at_once
    out_SBK = stack(lambda rows: (x_NF[rows],), index_SB)
    for place, twin in enumerate(twins):
        x_BF = x_NF[index_SB[place]]
        torch.testing.assert_close(out_SBK[place], twin(x_BF) * (2 if x_BF.sum() > 0 else 1))
    assert stack.module.seen.tolist() == [3, 3]


def test_what_can_go_at_once_is_left_as_it_was_by_the_trial() -> None:
    stack = Stack([ranker("dhen", seed, dropout=0.5) for seed in SEEDS])
    before = {name: value.clone() for name, value in stack.module.state_dict().items()}
    random = torch.get_rng_state()
    stack.try_at_once(picked(inputs_of(30, 2)), torch.arange(30).expand(3, 30))
    assert stack.at_once
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], v) for name, v in stack.module.state_dict().items())
