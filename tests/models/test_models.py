"""Upstream and downstream models: what they may and may not see, and that bytes repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import day, derm_days, read_day, space_of
from headwater.embeddings import Served
from headwater.errors import ModelError, SpaceMismatch
from headwater.evaluation import Variant
from headwater.events import Block
from headwater.events.examples import distinct_ids
from headwater.models.downstream import VariantTask, costs_of, fit_variant, predict_variant
from headwater.models.downstream.inputs import inputs_of
from headwater.models.downstream.reading import EmbeddingReader, read_embeddings
from headwater.models.training import MOST_NORM, Optimizers
from headwater.models.upstream.derm.embedding import embed_day
from headwater.models.upstream.derm.inputs import last_rows
from headwater.models.upstream.derm.learning import fit_day


@pytest.mark.parametrize(("scale", "length"), [(1.0, 5.0), (2.0, MOST_NORM), (300.0, MOST_NORM)])
def test_long_gradients_are_cut_to_their_limit_and_others_left_alone(scale, length) -> None:
    model = torch.nn.ParameterList([torch.zeros(1), torch.zeros(1)])
    (
        3 * scale * model[0] + 4 * scale * model[1]
    ).backward()  # a gradient of (3, 4) * scale: 5 * scale long
    Optimizers(model, lr=1.0, id_lr=1.0, weight_decay=0.0)._clip("here")
    assert [parameter.grad.item() for parameter in model] == pytest.approx(
        [0.6 * length, 0.8 * length], rel=1e-5
    )


def test_a_gradient_that_is_not_finite_changes_no_weight() -> None:
    model = torch.nn.ParameterList([torch.zeros(1)])
    loss = torch.sqrt(model[0] ** 2).sum()  # 0, with a gradient of 0 / 0
    with pytest.raises(
        ModelError, match="batch 7: the gradient is not finite. The last good checkpoint is kept"
    ):
        Optimizers(model, lr=1.0, id_lr=1.0, weight_decay=0.0).step(loss, "batch 7")
    assert model[0].item() == 0


@pytest.fixture
def ctr(make_factory):
    """The ctr upstream's task of the first day, its ids, and the day's events."""
    factory = make_factory()
    inputs = read_day(factory, day(0))
    task = derm_days(factory, inputs)["ctr"]
    ids = {
        entity: distinct_ids([inputs.events["impressions"]], entity)
        for entity in task.plan.entities
    }
    return task, ids


def vectors(task, ids):
    return {
        snapshot.entity: snapshot for snapshot in embed_day(task, space_of(task, task.day), ids)
    }


def test_context_never_reaches_a_vector(ctr) -> None:
    task, ids = ctr
    fit_day(task)
    plain = vectors(task, ids)
    (show,) = task.show
    context = show.context
    other = Block(
        np.roll(context.categorical_NC, 1, axis=0) * 0 + 1,
        context.multi_NK,
        context.numeric_NF + 3,
        context.vectors_ND,
        context.moments_NT,
    )
    assert not np.array_equal(other.categorical_NC, context.categorical_NC)
    moved = vectors(replace(task, show=(replace(show, context=other),)), ids)
    for entity in ("user", "item"):
        np.testing.assert_array_equal(plain[entity].vectors_ND, moved[entity].vectors_ND)
    # and a feature of the entity does reach it, so that the test above can fail
    block = show.entities["item"]
    changed = replace(
        show,
        entities=dict(show.entities) | {"item": replace(block, numeric_NF=block.numeric_NF + 3)},
    )
    assert not np.array_equal(
        vectors(replace(task, show=(changed,)), ids)["item"].vectors_ND, plain["item"].vectors_ND
    )


def test_vectors_have_length_one_and_every_entity_of_the_day_has_one(ctr) -> None:
    task, ids = ctr
    fit_day(task)
    for entity, snapshot in vectors(task, ids).items():
        np.testing.assert_allclose(np.linalg.norm(snapshot.vectors_ND, axis=1), 1, rtol=1e-5)
        assert set(snapshot.keys_N) == set(task.show[0].keys[entity])


def test_an_entity_keeps_its_last_row_of_the_day() -> None:
    keys, last = last_rows(np.array([5, 3, 5, 9, 3], np.uint64))
    assert keys.tolist() == [3, 5, 9]
    assert last.tolist() == [4, 2, 3]


def test_the_same_day_gives_the_same_bytes_and_another_seed_does_not(ctr, tmp_path) -> None:
    task, _ = ctr
    names = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        fit_day(replace(task, plan=replace(task.plan, seed=seed), folder=tmp_path / name))
        names.append((tmp_path / name / "model.safetensors").read_bytes())
    assert names[0] == names[1] != names[2]


def test_going_on_from_a_checkpoint_keeps_the_space(ctr, tmp_path) -> None:
    task, ids = ctr
    fit_day(task)
    again = replace(task, before=task.folder, folder=tmp_path / "next", day=day(1))
    fit_day(again)
    assert (tmp_path / "next" / "model.json").read_text().count(f'"first_day": "{day(0)}"') == 1
    with pytest.raises(ModelError, match="other settings or features"):
        fit_day(replace(again, plan=replace(task.plan, seed=5)))
    (tmp_path / "next" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        embed_day(again, space_of(task, day(0)), ids)


def test_a_loss_that_is_not_finite_names_its_batch_and_saves_nothing(ctr, tmp_path) -> None:
    task, _ = ctr
    block = task.learn[0].entities["item"]
    broken = replace(block, vectors_ND=tuple(np.full_like(v, np.inf) for v in block.vectors_ND))
    learn = replace(task.learn[0], entities=dict(task.learn[0].entities) | {"item": broken})
    with pytest.raises(
        ModelError,
        match=r"upstream ctr, day 2025-01-06, log impressions, batch 0 of 2: the loss is nan",
    ):
        fit_day(replace(task, learn=(learn,), folder=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


class FakeView:
    """An in-memory View."""

    def __init__(self, spaces) -> None:
        self.spaces, self.day = spaces, day(0)

    def read(self, name, keys, rows_of):
        vectors = np.stack([keys % 97, np.ones(len(keys))], axis=1).astype(np.float32)
        return Served(
            self.spaces[name], vectors, np.ones(len(keys), bool), np.ones(len(keys), np.float32)
        )


def test_a_pair_of_two_spaces_is_refused(ctr) -> None:
    task, _ = ctr
    space = space_of(task, day(0))
    variant = Variant("pair", ("ctr_user", "ctr_item"))
    rows = replace(task.show[0], day=day(1))
    with pytest.raises(SpaceMismatch, match="its pair in"):
        read_embeddings(
            FakeView({"ctr_user": space, "ctr_item": space_of(task, day(3))}), variant, rows, {}, 0
        )
    assert set(
        read_embeddings(FakeView({"ctr_user": space, "ctr_item": space}), variant, rows, {}, 0)
    ) == set(variant.embeddings)


def test_the_shuffled_control_deals_every_vector_to_the_wrong_entity(ctr) -> None:
    task, _ = ctr
    rows, space = replace(task.show[0], day=day(1)), space_of(task, day(0))
    view = FakeView({"ctr_user": space})
    true = read_embeddings(view, Variant("x", ("ctr_user",)), rows, {}, 0)["ctr_user"].vectors_BD
    dealt = read_embeddings(view, Variant("x", ("ctr_user",), ("ctr_user",)), rows, {}, 0)[
        "ctr_user"
    ].vectors_BD
    assert sorted(true[:, 0].unique().tolist()) == sorted(
        dealt[:, 0].unique().tolist()
    )  # the same vectors
    assert (true[:, 0] != dealt[:, 0]).float().mean() > 0.8
    for user in np.unique(rows.keys["user"])[:10]:  # one entity, one (wrong) vector
        assert dealt[torch.from_numpy(rows.keys["user"] == user), 0].unique().numel() == 1


def test_the_shuffled_control_is_dealt_anew_for_each_seed(ctr, ranker_rows, tmp_path) -> None:
    """One deal for all seeds would be a chance that their spread does not show."""
    factory, rows = ranker_rows
    plain = variant_task(factory, rows, tmp_path)
    variant = Variant("x", ("ctr_user",), ("ctr_user",))
    task = replace(
        plain,
        plan=replace(
            plain.plan,
            variant=variant,
            config=plain.plan.config.model_copy(update={"seeds": (0, 1)}),
        ),
        view=FakeView({"ctr_user": space_of(ctr[0], day(0))}),
    )
    inputs, seeds = inputs_of(task), task.plan.config.seeds
    every = torch.arange(len(rows))
    of_seeds = inputs.of_seeds(every, len(seeds))
    first, second = (inputs.rows(of_seeds[n]).read["ctr_user"].vectors_BD for n in (0, 1))
    assert torch.equal(first, inputs_of(task).rows(every).read["ctr_user"].vectors_BD)
    assert (first != second).any(dim=1).float().mean() > 0.5
    assert sorted(first[:, 0].unique().tolist()) == sorted(second[:, 0].unique().tolist())
    of_user = [inputs.rows(rows_B).blocks["user"].categorical_BC for rows_B in of_seeds]
    assert torch.equal(of_user[0], of_user[1])  # all else is the row's own
    assert inputs_of(plain).of_seeds(every, len(seeds)) is every


def test_a_missing_vector_is_read_as_zeros_and_a_flag() -> None:
    from headwater.config import ProjectionConfig
    from headwater.models.downstream.reading import EmbeddingTensors

    reader = EmbeddingReader(
        ["ctr_user", "ctr_item"], {"ctr_user": 3, "ctr_item": 3}, ProjectionConfig(width=2)
    ).eval()
    absent = EmbeddingTensors(torch.zeros(1, 3), torch.zeros(1, 1), torch.zeros(1, 1))
    assert reader({"ctr_user": absent, "ctr_item": absent}).tolist() == [[0.0] * 9]


def test_without_a_projection_a_vector_joins_as_it_is() -> None:
    from headwater.config import ProjectionConfig
    from headwater.models.downstream.reading import EmbeddingTensors

    reader = EmbeddingReader(
        ["ctr_user"], {"ctr_user": 3}, ProjectionConfig(width=None, norm=False)
    ).eval()
    vector = EmbeddingTensors(torch.tensor([[1.0, 2, 3]]), torch.ones(1, 1), torch.zeros(1, 1))
    assert reader({"ctr_user": vector}).tolist() == [[1, 2, 3, 1, 0]]


@pytest.fixture
def ranker_rows(make_factory):
    """A factory whose CTR ranker reads the user's history and learns a second task, and the rows of
    a day.
    """
    factory = make_factory()
    inputs = read_day(factory, day(1))
    return factory, inputs.encoded["impressions", day(1)].examples


def variant_task(factory, rows, tmp_path, name="a", **changes):
    plan = next(
        plan
        for plan in factory.run.rankers
        if (plan.consumer, plan.variant.name) == ("ctr", "none")
    )
    plan = replace(plan, config=plan.config.model_copy(update=changes))
    return VariantTask(
        plan,
        rows.day,
        plan.reads(rows),
        factory.workspace.served_on(rows.day),
        None,
        tmp_path / name,
        "f",
    )


def test_the_users_history_reaches_the_prediction_and_no_more_of_it_than_was_asked(
    ranker_rows, tmp_path
) -> None:
    factory, rows = ranker_rows
    task = variant_task(factory, rows, tmp_path)
    plain = predict_variant(task)[0]
    history = task.rows.histories["user"]
    assert history.keys_NL.shape[1] == task.plan.config.sequence.length
    some = (history.keys_NL != 0).any(axis=1)
    assert some.any()
    assert not some.all()
    other = replace(
        history,
        keys_NL=np.where(history.keys_NL != 0, history.keys_NL + np.uint64(1), 0).astype(np.uint64),
    )
    moved = predict_variant(replace(task, rows=replace(task.rows, histories={"user": other})))[0]
    assert (moved != plain)[some].mean() > 0.9
    np.testing.assert_array_equal(moved[~some], plain[~some])


def test_tasks_beside_the_own_one_are_learnt_and_change_nothing_of_who_is_judged(
    ranker_rows, tmp_path
) -> None:
    factory, rows = ranker_rows
    own, both = (
        variant_task(factory, rows, tmp_path, "own", also={}),
        variant_task(factory, rows, tmp_path, "both", also={"long_click": 0.5}),
    )
    for task in (own, both):
        fit_variant(task)
    tables = [load_file(task.folder / "rankers.safetensors") for task in (own, both)]
    heads = [
        {name for name in table if name.startswith("model.heads.") and name.endswith("weight")}
        for table in tables
    ]
    assert [len(found) for found in heads] == [1, 2]
    assert not torch.equal(
        tables[0]["model.experts.0.0.weight"], tables[1]["model.experts.0.0.weight"]
    )
    after = [predict_variant(replace(task, before=task.folder))[0] for task in (own, both)]
    assert after[0].shape == after[1].shape == (len(rows),)
    assert list(both.plan.tasks) == ["click", "long_click"]


def test_costs_are_those_of_the_plan(ranker_rows, tmp_path) -> None:
    factory, rows = ranker_rows
    narrow = variant_task(factory, rows, tmp_path, hidden=4)
    costs = costs_of(
        {"narrow": narrow, "wide": variant_task(factory, rows, tmp_path, hidden=64)}, rounds=1
    )
    stack, _ = narrow.plan.build([0])
    assert (
        costs["narrow"].dense_bytes
        == 4 * sum(p.numel() for p in stack.module.parameters())
        < costs["wide"].dense_bytes
    )
    assert costs["narrow"].joined_numbers == 0
    assert costs["narrow"].rows_a_second > 0
