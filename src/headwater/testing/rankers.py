"""What every downstream ranker keeps to, on rows made by hand. Shapes: B rows, D width of a vector,
K steps of a sequence, L events of a history.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headwater.config import DownstreamConfig
from headwater.events import BlockSpec
from headwater.models.downstream import Ranker, SequenceSpec
from headwater.models.downstream.reading import EmbeddingTensors
from headwater.models.training import Optimizers, begin, load_checkpoint, save_checkpoint
from headwater.nn import FeatureTensors, HistoryTensors, masked_bce

WIDTHS = {"ctr_user": 4, "ctr_item": 4}
BUCKETS, LENGTH, STEPS = 50, 4, 3
SPECS = {
    "user": BlockSpec((5,), (), 1, ()),
    "item": BlockSpec((), (4,), 1, (3,)),
    "context": BlockSpec((), (), 2, ()),
    "counters": BlockSpec((), (), 2, ()),
}
CONFIG = DownstreamConfig.model_validate(
    {
        "task": "click",
        "also": {"buy": 1.0},
        "id_buckets": BUCKETS,
        "feature_width": 4,
        "hidden": 8,
        "sequence": {"length": LENGTH},
        "projection": {"width": 4, "dropout": 0.0},
    }
)
PARTS = ("user", "item", "context", "counters", "ctr_user", "ctr_item", "history")


@dataclass(frozen=True)
class Inputs:
    """What a ranker reads of B rows."""

    blocks: Mapping[str, FeatureTensors]
    read: Mapping[str, EmbeddingTensors]
    history: HistoryTensors

    def rows(self, index: Tensor) -> Inputs:
        return Inputs(
            {name: part.rows(index) for name, part in self.blocks.items()},
            {name: part.rows(index) for name, part in self.read.items()},
            self.history.rows(index),
        )

    def but(self, part: str, other: Inputs) -> Inputs:
        """These rows with one part of other ones."""
        if part == "history":
            return replace(self, history=other.history)
        if part in self.blocks:
            return replace(self, blocks=dict(self.blocks) | {part: other.blocks[part]})
        return replace(self, read=dict(self.read) | {part: other.read[part]})


def inputs_of(rows: int, seed: int, sequence: bool = False) -> Inputs:
    """Random rows: ids, features of every kind, embeddings and histories."""
    generator = torch.Generator().manual_seed(seed)

    def slots(columns: int, sizes: int) -> Tensor:
        return torch.randint(1, sizes, (rows, columns), generator=generator)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator)

    none = torch.zeros(rows, 0, dtype=torch.long)
    blocks = {
        "user": FeatureTensors(
            torch.cat([slots(1, BUCKETS + 1), slots(1, 5)], dim=1), (), numbers(1), ()
        ),
        "item": FeatureTensors(slots(1, BUCKETS + 1), (slots(2, 4),), numbers(1), (numbers(3),)),
        "context": FeatureTensors(none, (), numbers(2), ()),
        "counters": FeatureTensors(none, (), numbers(2), ()),
    }
    read = {
        name: EmbeddingTensors(
            numbers(width),
            torch.ones(rows, 1),
            numbers(1).abs(),
            *((numbers(STEPS, width), slots(STEPS, 3) > 1) if sequence else ()),
        )
        for name, width in WIDTHS.items()
    }
    history = HistoryTensors(
        slots(LENGTH, BUCKETS + 1), slots(LENGTH, 2).to(torch.uint8), 600 * numbers(LENGTH).abs()
    )
    return Inputs(blocks, read, history)


class RankerContract(ABC):
    """Subclass it with `make`."""

    @pytest.fixture(autouse=True)
    def _repeatable(self) -> None:
        begin(0)

    @abstractmethod
    def make(
        self,
        specs: Mapping[str, BlockSpec],
        config: DownstreamConfig,
        embeddings: Sequence[str],
        widths: Mapping[str, int],
        sequence: SequenceSpec | None,
    ) -> Ranker:
        """A ranker, as a consumer's variant makes it."""

    def ranker(self, embeddings: Sequence[str] = tuple(WIDTHS), seed: int = 0) -> Ranker:
        """A ranker of a fixed seed, which has seen the scale of some rows."""
        begin(seed)
        made = self.make(SPECS, CONFIG, embeddings, WIDTHS, SequenceSpec("item", 1))
        for name, block in inputs_of(200, 1).blocks.items():
            made.features[name].observe(block)  # type: ignore[operator]
        return made

    @staticmethod
    def logits(ranker: Ranker, x: Inputs) -> Tensor:
        out_BK: Tensor = ranker.eval()(x.blocks, x.read, x.history)
        return out_BK

    @pytest.mark.parametrize("embeddings", [(), ("ctr_user",), tuple(WIDTHS)], ids=len)
    @pytest.mark.parametrize("sequence", [None, SequenceSpec("item", 1)], ids=["no", "history"])
    @pytest.mark.parametrize("also", [{}, {"buy": 0.5}], ids=["one-task", "two-tasks"])
    def test_each_task_gets_a_logit_a_row(
        self, embeddings: tuple[str, ...], sequence: SequenceSpec | None, also: dict[str, float]
    ) -> None:
        config = CONFIG.model_copy(update={"also": also})
        made = self.make(SPECS, config, embeddings, WIDTHS, sequence).eval()
        x = inputs_of(7, 2)
        out_BK = made(x.blocks, x.read, x.history if sequence else None)
        assert out_BK.shape == (7, 1 + len(also))
        assert torch.isfinite(out_BK).all()

    def test_a_batch_is_its_rows_one_by_one(self) -> None:
        ranker, x = self.ranker(), inputs_of(6, 2)
        one_by_one = [self.logits(ranker, x.rows(torch.tensor([n]))) for n in range(6)]
        torch.testing.assert_close(self.logits(ranker, x), torch.cat(one_by_one))

    @pytest.mark.parametrize("part", PARTS)
    def test_it_reads_all_that_it_is_given(self, part: str) -> None:
        ranker, x = self.ranker(), inputs_of(32, 2)
        before = self.logits(ranker, x)
        changed = self.logits(ranker, x.but(part, inputs_of(32, 3)))
        assert ((changed - before).abs() > 1e-7).float().mean() > 0.5

    def test_a_variant_without_an_embedding_does_not_read_it(self) -> None:
        ranker, x = self.ranker(("ctr_user",)), inputs_of(8, 2)
        changed = x.but("ctr_item", inputs_of(8, 3))
        torch.testing.assert_close(
            self.logits(ranker, x), self.logits(ranker, changed), rtol=0, atol=0
        )

    def test_what_stands_beside_absent_events_changes_nothing(self) -> None:
        ranker, x = self.ranker(), inputs_of(8, 2)
        slots_BL = x.history.slots_BL.clone()
        slots_BL[:, 2:] = 0
        short = x.history._replace(slots_BL=slots_BL)
        noisy = short._replace(
            actions_BL=torch.cat([short.actions_BL[:, :2], 1 - short.actions_BL[:, 2:]], dim=1),
            gaps_s_BL=torch.cat([short.gaps_s_BL[:, :2], 9e9 - short.gaps_s_BL[:, 2:]], dim=1),
        )
        torch.testing.assert_close(
            self.logits(ranker, replace(x, history=short)),
            self.logits(ranker, replace(x, history=noisy)),
        )

    def test_of_a_sequence_it_reads_the_steps_that_are_there(self) -> None:
        ranker, x = self.ranker(), inputs_of(16, 2, sequence=True)
        user = x.read["ctr_user"]
        vectors_BKD, there_BK = user.sequence_BKD, user.there_BK
        assert vectors_BKD is not None
        assert there_BK is not None
        there_BK[:, 0] = True  # whoever is found has one step
        answers = []
        for where_BK in (torch.zeros_like(there_BK), ~there_BK, there_BK):
            moved = vectors_BKD + 5 * torch.randn(vectors_BKD.shape) * where_BK[..., None]
            read = dict(x.read) | {"ctr_user": user._replace(sequence_BKD=moved)}
            answers.append(self.logits(ranker, replace(x, read=read)))
        torch.testing.assert_close(answers[1], answers[0])
        assert not torch.allclose(answers[2], answers[0])

    def test_who_has_no_vector_gets_a_finite_answer(self) -> None:
        ranker, x = self.ranker(), inputs_of(8, 2)
        absent = {
            name: EmbeddingTensors(torch.zeros(8, width), torch.zeros(8, 1), torch.zeros(8, 1))
            for name, width in WIDTHS.items()
        }
        out_BK = self.logits(ranker, replace(x, read=absent))
        assert torch.isfinite(out_BK).all()
        assert not torch.allclose(out_BK, self.logits(ranker, x))

    def test_the_same_seed_makes_the_same_weights(self) -> None:
        one, other = self.ranker().state_dict(), self.ranker().state_dict()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)

    def test_saved_and_loaded_it_goes_on_to_the_same_bytes(self, tmp_path: Path) -> None:
        x, wanted_BK = inputs_of(64, 2), (torch.randn(64, 2) > 0).float()
        ranker = self.ranker()
        optimizers = learn(ranker, x, wanted_BK, epochs=1)
        save_checkpoint(tmp_path, ranker, optimizers, {"signature": "s"})
        other = self.ranker(seed=1)
        restored = Optimizers(other, 0.01, 0.1, 0.0)
        load_checkpoint(tmp_path, other, restored, {"signature": "s"})
        torch.testing.assert_close(self.logits(ranker, x), self.logits(other, x), rtol=0, atol=0)
        learn(ranker, x, wanted_BK, 1, optimizers)
        learn(other, x, wanted_BK, 1, restored)
        torch.testing.assert_close(self.logits(ranker, x), self.logits(other, x), rtol=0, atol=0)

    def test_a_taste_that_only_the_vectors_know_is_learnt_from_them_and_by_nothing_else(
        self,
    ) -> None:
        """Planted: a click where the user's vector points one way, a purchase where it does not."""
        x = inputs_of(4000, 4)
        clicked_B = (x.read["ctr_user"].vectors_BD[:, 0] > 0).float()
        wanted_BK = torch.stack([clicked_B, 1 - clicked_B], dim=1)
        past, future = torch.arange(3000), torch.arange(3000, 4000)
        right = {}
        for embeddings in ((), tuple(WIDTHS)):
            ranker = self.ranker(embeddings)
            learn(ranker, x.rows(past), wanted_BK[past], epochs=3)
            told_BK = self.logits(ranker, x.rows(future)) > 0
            right[len(embeddings)] = (told_BK == (wanted_BK[future] > 0)).float().mean(dim=0)
        assert (right[2] > 0.75).all(), right
        assert (right[0] < 0.58).all(), right  # five deviations above chance


def learn(
    ranker: Ranker,
    x: Inputs,
    wanted_BK: Tensor,
    epochs: int,
    optimizers: Optimizers | None = None,
) -> Optimizers:
    """Learn rows as a factory does: both optimisers, the tasks' losses summed."""
    optimizers = optimizers or Optimizers(ranker, 0.01, 0.1, 0.0)
    ranker.train()
    torch.manual_seed(5)
    for _ in range(epochs):
        for index in torch.randperm(len(wanted_BK)).split(64):
            part = x.rows(index)
            logits_BK = ranker(part.blocks, part.read, part.history)
            losses = [
                masked_bce(logits_BK[:, k], wanted_BK[index, k]) for k in range(wanted_BK.shape[1])
            ]
            optimizers.step(torch.stack(losses).sum(), "the contract's rows")
    return optimizers
