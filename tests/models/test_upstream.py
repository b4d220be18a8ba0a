"""Upstream models in full: one over several logs, content for those never seen, tasks over the
whole space, going on within a day.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from conftest import day, derm_days, read_day, space_of
from headwater.embeddings.snapshot import Basis
from headwater.errors import ConfigError, ModelError
from headwater.events.examples import distinct_ids
from headwater.ids import keys_of
from headwater.models.precision import Precision
from headwater.models.training import shuffled
from headwater.models.upstream.derm.embedding import embed_day, predict
from headwater.models.upstream.derm.learning import Part, fit_day, parts_of, steps_of

UNIFIED = {"tasks": ["click", "long_click", "purchase"], "size": "tiny", "id_buckets": 200}


def one(**settings):
    """A change of the tiny factory: one upstream, with these settings."""

    def change(raw) -> None:
        raw["upstreams"] = {"one": UNIFIED | settings}
        raw["downstream"] = {}
        raw["tasks"]["purchase"]["matures_days"] = raw["tasks"]["conversion"]["matures_days"] = 0

    return change


@pytest.fixture
def task_of(make_factory):
    """The one upstream's task of the first day, and its ids."""

    def make(name="factory", **settings):
        factory = make_factory(one(**settings), name)
        inputs = read_day(factory, day(0))
        task = derm_days(factory, inputs)["one"]
        events = [inputs.events[log] for log in task.plan.logs]
        return task, {entity: distinct_ids(events, entity) for entity in task.plan.entities}

    return make


def weights(folder) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# ---- one upstream over several logs --------------------------------------------------------------


def test_one_upstream_learns_two_logs_and_gives_one_vector_of_one_space_to_whom_either_shows(
    task_of,
) -> None:
    task, ids = task_of()
    assert task.plan.logs == ("impressions", "visits")
    assert task.plan.tasks == {"impressions": ("click", "long_click"), "visits": ("purchase",)}
    assert {entity: sorted(found) for entity, found in task.plan.histories.items()} == {
        "user": ["impressions", "visits"],
        "item": [],
    }
    fit_day(task)
    made = {snapshot.entity: snapshot for snapshot in embed_day(task, space_of(task, day(0)), ids)}
    for entity, snapshot in made.items():
        shown = [set(rows.keys[entity]) for rows in task.show]
        assert set(snapshot.keys_N) == shown[0] | shown[1]
        assert min(map(len, shown)) > 0
    # the vector is of the last row, in whichever log that is
    impressions, visits = task.show
    both = np.intersect1d(impressions.keys["user"], visits.keys["user"])
    last = {
        rows.log: {key: rows.times_us_N[rows.keys["user"] == key].max() for key in both}
        for rows in task.show
    }
    later = next(key for key in both if last["visits"][key] > last["impressions"][key])
    first = np.flatnonzero(visits.keys["user"] == later)[-1]
    moved = replace(
        visits,
        histories={
            name: replace(
                past,
                keys_NL=np.where(np.arange(len(visits))[:, None] == first, 0, past.keys_NL).astype(
                    np.uint64
                ),
            )
            for name, past in visits.histories.items()
        },
    )
    other = {
        s.entity: s
        for s in embed_day(replace(task, show=(impressions, moved)), space_of(task, day(0)), ids)
    }["user"]
    changed = (other.vectors_ND != made["user"].vectors_ND).any(axis=1)
    assert set(other.keys_N[changed]) <= {later}


def test_rows_of_one_log_read_the_users_history_in_the_other_as_of_their_own_time(task_of) -> None:
    task, _ = task_of()
    impressions, visits = task.show
    assert set(impressions.histories) == {"user", "user@visits"}
    assert set(visits.histories) == {"user", "user@impressions"}
    past = impressions.histories["user@visits"]
    for row in np.flatnonzero((past.keys_NL != 0).any(axis=1))[:20]:
        mine = (visits.keys["user"] == impressions.keys["user"][row]) & (
            visits.times_us_N < impressions.times_us_N[row]
        )
        expected = visits.keys["item"][mine][::-1][: past.keys_NL.shape[1]]
        np.testing.assert_array_equal(past.keys_NL[row][: len(expected)], expected)
    assert (past.keys_NL != 0).any()


def test_logs_are_woven_evenly_and_balanced_where_asked(task_of) -> None:
    task, _ = task_of(batch_rows=32)
    parts = [
        Part(rows, np.arange(n), np.arange(0)) for rows, n in zip(task.show, (96, 32), strict=True)
    ]
    assert [step.part for step in steps_of(task.plan, parts, 0)] == [0, 0, 1, 0]
    equal = replace(task.plan, config=task.plan.config.model_copy(update={"balance": "equal"}))
    steps = steps_of(equal, parts, 0)
    assert [step.part for step in steps] == [0, 1, 0, 1, 0, 1]
    again = [step.rows_B for step in steps if step.part == 1]
    assert all(sorted(rows) == list(range(32)) for rows in again)
    assert not np.array_equal(again[0], again[1])  # shuffled anew


def test_an_upstream_over_two_logs_runs_through_the_pipeline(make_factory) -> None:
    def change(raw) -> None:
        one()(raw)
        raw["downstream"] = {
            "ctr": {
                "task": "click",
                "variants": ["none", "all"],
                "seeds": [0],
                "hidden": 8,
                "feature_width": 4,
                "id_buckets": 200,
            }
        }

    factory = make_factory(change)
    reports = list(factory.backfill(day(0), day(2)))
    assert reports[-1].quality["ctr"].rows > 0
    assert reports[-1].coverage["one_user"] > 0.3


# ---- content for those never seen ----------------------------------------------------------------


def known_from_the_start(factory) -> None:
    """All ads of the world were created before its first day, as their table tells."""
    file = factory.workspace.root / "world" / "items.parquet"
    items = pl.read_parquet(file)
    before = pl.lit(day(-1)).cast(items.schema["created"])
    items.with_columns(created=before).write_parquet(file)


def test_whom_no_log_has_shown_gets_a_vector_of_content_marked_as_such_and_forgotten_at_first_sight(
    make_factory,
) -> None:
    def change(raw) -> None:
        raw["upstreams"] = {"ctr": raw["upstreams"]["ctr"] | {"content_vectors": ["item"]}}
        raw["downstream"] = {}

    factory = make_factory(change)
    known_from_the_start(factory)
    listed = keys_of(pl.read_parquet(factory.workspace.root / "world" / "items.parquet")["ad_id"])
    days = [day(0), day(1)]
    shown = []
    for now in days:
        factory.run_day(now)
        shown.append(
            np.unique(read_day(factory, now).encoded["impressions", now].examples.keys["item"])
        )
    first, second = (factory.workspace.edition(now).lookup("ctr_item", listed, now) for now in days)
    assert first.found_N.all()
    never = ~np.isin(listed, shown[0])
    np.testing.assert_array_equal(first.age_days_N == -1, never)
    assert never.any()
    np.testing.assert_allclose(np.linalg.norm(first.vectors_ND, axis=1), 1, rtol=1e-5)
    new = never & np.isin(listed, shown[1])
    assert new.any()
    daily = factory.workspace.daily_of(day(1))["ctr_item"].segment
    rows = np.searchsorted(daily.keys, listed[new])
    np.testing.assert_array_equal(
        second.vectors_ND[new], daily.gather(rows)[0]
    )  # the first sight as it is, no average with the content
    assert (second.age_days_N[new] == 0).all()
    known = ~never & ~np.isin(
        listed, shown[1]
    )  # seen yesterday only: its own vector is carried, content does not replace it
    np.testing.assert_array_equal(second.vectors_ND[known], first.vectors_ND[known])
    assert (second.age_days_N[known] == 1).all()


def test_who_has_expired_gets_a_vector_of_content_without_a_trace_of_the_old_one(
    make_factory,
) -> None:
    def change(raw) -> None:
        raw["upstreams"] = {"ctr": raw["upstreams"]["ctr"] | {"content_vectors": ["user"]}}
        raw["downstream"] = {}
        raw["lifecycle"] |= {"expire_days": 1, "policy": {"kind": "ema", "weight": 0.8}}

    factory = make_factory(change)
    for file in (factory.workspace.root / "world" / "impressions").glob("*.parquet"):
        frame = pl.read_parquet(file)
        if frame["time"].min().date() > day(0):
            frame.filter(pl.col("user_id") % 3 != 0).write_parquet(file)
    gone = pl.read_parquet(factory.workspace.root / "world" / "users.parquet").filter(
        pl.col("user_id") % 3 == 0
    )["user_id"]
    for n in range(3):
        factory.run_day(day(n), force=True)
    gone = keys_of(gone)
    first, last = (
        factory.workspace.edition(now).lookup("ctr_user", gone, now) for now in (day(0), day(2))
    )
    known = first.found_N & (first.age_days_N == 0)
    assert known.any()
    assert (last.age_days_N[known] == -1).all()
    daily = factory.workspace.daily_of(day(2))["ctr_user"].segment
    np.testing.assert_array_equal(
        last.vectors_ND[known], daily.gather(np.searchsorted(daily.keys, gone[known]))[0]
    )


def test_a_vector_of_content_owes_nothing_to_ids(make_factory, tmp_path) -> None:
    def change(raw) -> None:
        raw["upstreams"] = {"ctr": raw["upstreams"]["ctr"] | {"content_vectors": ["item"]}}
        raw["downstream"] = {}

    factory = make_factory(change)
    known_from_the_start(factory)
    inputs = read_day(factory, day(0))
    task = derm_days(factory, inputs)["ctr"]
    ids = {
        entity: distinct_ids([inputs.events["impressions"]], entity)
        for entity in task.plan.entities
    }
    fit_day(task)
    item = {s.entity: s for s in embed_day(task, space_of(task, day(0)), ids)}["item"]
    listing = task.listings["item"]
    renamed = replace(
        listing,
        keys_N=np.sort(listing.keys_N ^ np.uint64(1 << 60)),
        ids=pl.Series([f"x{n}" for n in range(len(listing.keys_N))]),
        block=listing.block.take(np.argsort(listing.keys_N ^ np.uint64(1 << 60))),
    )
    other = {
        s.entity: s
        for s in embed_day(replace(task, listings={"item": renamed}), space_of(task, day(0)), ids)
    }["item"]
    content = item.vectors_ND[item.basis_N == Basis.CONTENT]
    of = dict(zip(other.keys_N, other.vectors_ND, strict=True))
    for key, vector in zip(
        item.keys_N[item.basis_N == Basis.CONTENT][:10], content[:10], strict=True
    ):
        np.testing.assert_array_equal(of[key ^ np.uint64(1 << 60)], vector)
    assert len(content) > 0


def test_hidden_rows_are_those_of_nobody(task_of) -> None:
    from headwater.models.upstream.derm.inputs import tower_tensors
    from headwater.models.upstream.derm.network import hidden

    task, _ = task_of()
    x = tower_tensors(task.plan, task.show[0], "user")
    some = torch.arange(len(x.slots_B)) % 3 == 0
    found = hidden(x, some)
    assert (found.slots_B[some] == 0).all()
    assert torch.equal(found.slots_B[~some], x.slots_B[~some])
    for log, past in found.histories.items():
        assert (past.slots_BL[some] == 0).all()
        assert torch.equal(past.slots_BL[~some], x.histories[log].slots_BL[~some])
    assert (x.histories["impressions"].slots_BL[some] != 0).any()


def test_content_needs_features(make_factory) -> None:
    def change(raw) -> None:
        raw["entities"]["item"]["features"] = {}
        raw["upstreams"]["ctr"]["content_vectors"] = ["item"]

    with pytest.raises(
        ConfigError,
        match="upstreams.ctr.content_vectors: the entity 'item' has a table but no features",
    ):
        make_factory(change)


def test_heads_that_do_not_divide_what_size_derives_are_found_before_a_day_is_trained(
    make_factory,
) -> None:
    with pytest.raises(
        ConfigError, match="upstreams.one.dhen.heads: token_width 8 should be a multiple of 3"
    ):
        make_factory(one(size="tiny", dhen={"heads": 3}))


def test_a_class_that_is_no_block_is_said(task_of) -> None:
    task, _ = task_of(dhen={"layers": [["torch.nn:Embedding"]]})
    with pytest.raises(
        ConfigError,
        match=(
            "block 'torch.nn:Embedding': cannot be made as Embedding.tokens_in, tokens_out, width,"
            " hidden, heads."
        ),
    ):
        fit_day(task)


def test_content_needs_a_table(make_factory) -> None:
    def change(raw) -> None:
        raw["entities"]["item"] = {}
        raw["upstreams"]["ctr"]["content_vectors"] = ["item"]

    with pytest.raises(
        ConfigError, match="upstreams.ctr.content_vectors: the entity 'item' has no table"
    ):
        make_factory(change)


# ---- tasks and losses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"heads": "mmoe", "experts": 3},
        {"whole_space": ["long_click"]},
        {"learn_temperature": True},
        {"uniform_negatives": 8},
        {"overtower": False},
        {"ids": False},
        {"balance": "equal"},
        {"hidden_share": 0.5},
        {"fast": True},
        {
            "dhen": {
                "layers": [["dcn", "linear"], ["masknet_serial", "masknet_parallel"], ["mlp"]],
                "ensemble": "concat",
                "shortcut": "learned",
            }
        },
        {"dhen": {"ensemble": "weighted"}},
    ],
    ids=str,
)
def test_every_setting_trains_to_other_weights_saves_embeds_and_predicts(task_of, settings) -> None:
    task, ids = task_of(**settings)
    fit_day(task)
    for snapshot in embed_day(task, space_of(task, day(0)), ids):
        np.testing.assert_allclose(np.linalg.norm(snapshot.vectors_ND, axis=1), 1, rtol=2e-3)
    for rows in task.show:
        found = predict(task, rows)
        assert set(found) == set(task.plan.tasks[rows.log])
        assert all(
            ((values > 0) & (values < 1)).all() and len(values) == len(rows)
            for values in found.values()
        )
    if settings != {"fast": True}:
        plain, _ = task_of()
        fit_day(plain)
        assert weights(plain.folder) != weights(task.folder)


def test_a_whole_space_task_whose_label_matures_alone_is_learnt_on_every_row(task_of) -> None:
    task, _ = task_of(whole_space=["long_click"])
    late = replace(
        task.show[0], labels={"long_click": task.show[0].labels["long_click"]}
    )  # the clicks were learnt on their own day
    clicked = np.flatnonzero(~np.isnan(late.labels["long_click"]))
    assert 0 < len(clicked) < len(late)
    (part,) = parts_of(replace(task, learn=(late,)))
    assert len(part) == len(late)
    plain = replace(task.plan, config=task.plan.config.model_copy(update={"whole_space": ()}))
    (part,) = parts_of(replace(task, plan=plain, learn=(late,)))
    np.testing.assert_array_equal(part.rows_N, clicked)


def test_whole_space_is_for_tasks_given_another_of_the_same_upstream(make_factory) -> None:
    with pytest.raises(ConfigError) as caught:
        make_factory(one(whole_space=["click", "conversion"]))
    assert "'click' is given no other task" in str(caught.value)
    assert "'conversion' is no task of this upstream" in str(caught.value)


# ---- a day that is interrupted -------------------------------------------------------------------


def test_a_killed_day_goes_on_within_itself_to_the_very_bytes_of_an_undisturbed_one(
    task_of, tmp_path, monkeypatch
) -> None:
    from headwater.models.upstream.derm import learning

    task, _ = task_of(batch_rows=32, checkpoint_steps=3, dropout=0.2, hidden_share=0.2, epochs=2)
    whole = replace(task, folder=tmp_path / "whole")
    fit_day(whole)
    learnt, loss_of = [], learning.loss_of

    def killed_at(step):
        def loss(*args):
            if len(learnt) == step:
                raise KeyboardInterrupt
            learnt.append(step)
            return loss_of(*args)

        return loss

    broken = replace(task, folder=tmp_path / "broken")
    for kill in (5, 9, 13):
        monkeypatch.setattr(learning, "loss_of", killed_at(kill))
        with pytest.raises(KeyboardInterrupt):
            fit_day(broken)
        assert not broken.folder.exists()
    monkeypatch.setattr(learning, "loss_of", loss_of)
    steps = []
    monkeypatch.setattr(learning, "loss_of", lambda *args: steps.append(1) or loss_of(*args))
    fit_day(broken)
    assert weights(broken.folder) == weights(whole.folder)
    assert len(steps) < len(
        steps_of(task.plan, parts_of(task), 0)
    )  # it did go on, and did not begin again
    assert [path.name for path in tmp_path.glob("broken*")] == ["broken"]


def test_a_checkpoint_within_a_day_of_other_inputs_is_not_gone_on_from(
    task_of, tmp_path, monkeypatch
) -> None:
    from headwater.models.upstream.derm import learning

    task, _ = task_of(batch_rows=32, checkpoint_steps=2)
    loss_of, calls = learning.loss_of, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return loss_of(*args)

    monkeypatch.setattr(learning, "loss_of", killed)
    with pytest.raises(KeyboardInterrupt):
        fit_day(replace(task, folder=tmp_path / "a"))
    fit_day(replace(task, folder=tmp_path / "a", fingerprint="other"))
    fit_day(replace(task, folder=tmp_path / "b", fingerprint="other"))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_an_exploding_loss_stops_with_its_batch_and_keeps_what_was_good(
    task_of, monkeypatch
) -> None:
    from headwater.models.upstream.derm import learning

    task, _ = task_of(batch_rows=8, checkpoint_steps=10)
    loss_of, calls = learning.loss_of, []

    def exploding(*args):
        calls.append(1)
        return loss_of(*args) * (1000 if len(calls) == 61 else 1)

    monkeypatch.setattr(learning, "loss_of", exploding)
    with pytest.raises(
        ModelError,
        match=r"upstream one, day 2025-01-06, log \w+, batch 60 of \d+: the loss is .*, usual is",
    ):
        fit_day(task)
    assert not task.folder.exists()
    assert task.folder.with_name(f"{task.folder.name}.within").is_dir()


# ---- loading and computing -----------------------------------------------------------------------


def test_many_rows_are_shuffled_in_bounded_windows(monkeypatch) -> None:
    from headwater.models import training

    monkeypatch.setattr(training, "WINDOW_ROWS", 64)
    monkeypatch.setattr(training, "RUN_ROWS", 8)
    found = list(shuffled(1000, 32, 0))
    assert sorted(np.concatenate(found)) == list(range(1000))
    assert {len(rows) for rows in found[:-1]} == {32}
    assert all(len(set(rows // 8)) <= 16 for rows in found)  # of two windows of eight runs at most
    assert not np.array_equal(np.concatenate(found), np.concatenate(list(shuffled(1000, 32, 1))))


def test_a_gpu_that_is_not_there_is_said() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(ModelError, match="torch sees no GPU"):
        Precision.of("cuda:0", fast=False)
    assert Precision.of("auto", fast=False).device.type == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_a_gpu_trains_goes_on_and_embeds_as_the_cpu_does(task_of) -> None:
    made = {}
    for device in ("cpu", "cuda"):
        task, ids = task_of(device, device=device)
        fit_day(task)
        task = replace(task, before=task.folder, folder=task.folder.with_name("next"))
        fit_day(task)
        made[device] = embed_day(task, space_of(task, day(0)), ids)
    for cpu, gpu in zip(made["cpu"], made["cuda"], strict=True):
        np.testing.assert_allclose(cpu.vectors_ND, gpu.vectors_ND, atol=0.05)


def test_rows_are_moved_to_the_device_before_scales_take_them_in(task_of, monkeypatch) -> None:
    from headwater.models.upstream.derm.learning import observe
    from headwater.models.upstream.derm.trainee import Trainee
    from headwater.nn import FeatureTokens

    task, _ = task_of()
    moved, taken = [], []
    monkeypatch.setattr(Precision, "moved", lambda self, tree: moved.append(tree) or tree)
    monkeypatch.setattr(FeatureTokens, "observe", lambda self, x: taken.append(x))
    observe(task.plan, Trainee(task.plan), parts_of(task), Precision.of("cpu", fast=False))
    assert len(taken) == 6  # two entities and the context of two logs
    assert all(one is other for one, other in zip(taken, moved, strict=True))


def test_a_saved_optimiser_goes_on_where_its_weights_are() -> None:
    from headwater.models.training import Optimizers

    model = torch.nn.Linear(2, 1)
    optimizers = Optimizers(model, lr=0.1, id_lr=0.1, weight_decay=0.0)
    optimizers.step(model(torch.ones(1, 2)).sum(), "here")
    kept = optimizers.state()
    other = torch.nn.Linear(2, 1, device="meta")
    again = Optimizers(other, lr=0.1, id_lr=0.1, weight_decay=0.0)
    again.restore(kept)
    assert {
        value.device.type for entry in again.dense.state.values() for value in entry.values()
    } == {"meta"}


def test_compiling_is_for_days_of_many_rows(task_of, monkeypatch) -> None:
    from headwater.models.upstream.derm import learning
    from headwater.models.upstream.derm.trainee import Trainee
    from headwater.nn import Dhen

    task, _ = task_of()
    compiled: list[Dhen] = []
    monkeypatch.setattr(Dhen, "compile", lambda self, dynamic: compiled.append(self))
    learning.compile_where_it_pays(Trainee(task.plan), learning.COMPILE_FROM_ROWS - 1)
    assert not compiled
    learning.compile_where_it_pays(Trainee(task.plan), learning.COMPILE_FROM_ROWS)
    assert len(compiled) == 4  # two towers, and an overtower for each of two logs


# ---- what a space is -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw["logs"]["impressions"]["features"]["surface"]["values"].reverse(),
        lambda raw: raw["entities"]["item"]["features"].update(
            price={"kind": "numeric", "log": False}
        ),
        lambda raw: raw["entities"]["item"].update(
            features=dict(reversed(raw["entities"]["item"]["features"].items()))
        ),
        lambda raw: raw["histories"]["user"].update(where=None),
        lambda raw: raw["histories"]["user"].update(length=3),
        lambda raw: raw["tasks"]["click"].update(label="is_long_click"),
        lambda raw: raw.update(time_zone="Asia/Shanghai"),
    ],
)
def test_what_changes_the_meaning_of_an_input_makes_another_space(make_factory, change) -> None:
    plans = [
        make_factory(lambda raw, also=also: [one()(raw), also(raw)], name).run.plans["one"]
        for name, also in (("a", lambda raw: None), ("b", change))
    ]
    assert plans[0].signature != plans[1].signature


def test_where_the_data_lies_is_no_part_of_a_space(make_factory) -> None:
    def elsewhere(raw) -> None:
        one()(raw)
        raw["logs"]["impressions"]["path"] = raw["logs"]["impressions"]["path"].replace(
            "*.parquet", "**.parquet"
        )
        raw["downstream"], raw["workers"] = {}, 1

    assert (
        make_factory(one(), "a").run.plans["one"].signature
        == make_factory(elsewhere, "b").run.plans["one"].signature
    )


def test_each_log_has_its_own_estimate_of_what_comes_up_in_its_batches(task_of) -> None:
    from headwater.models.upstream.derm.trainee import Trainee

    task, _ = task_of()
    trainee, always, often = Trainee(task.plan), torch.tensor([1]), torch.tensor([1, 2])
    for _ in range(300):  # item 1 is in all batches of both logs, item 2 in those of one
        found = trainee.frequency_of("impressions").observe(often)
        trainee.frequency_of("visits").observe(always)
    assert found.exp().tolist() == pytest.approx([1, 1], abs=0.05)
    assert trainee.steps == 600


def test_uniform_negatives_differ_from_day_to_day(task_of) -> None:
    from headwater.models.upstream.derm.learning import batch_of

    task, _ = task_of(uniform_negatives=16, seed=-1)
    parts = parts_of(task)
    step = steps_of(task.plan, parts, 0)[0]
    today, again, tomorrow = (
        batch_of(at, parts, step, 0, Precision.of("cpu", fast=False)).pool[2]
        for at in (task, task, replace(task, day=day(1)))
    )
    assert torch.equal(today, again)
    assert not torch.equal(today, tomorrow)


def test_losses_are_float32_under_bfloat16(task_of, monkeypatch) -> None:
    from headwater.models.upstream.derm import learning
    from headwater.models.upstream.derm.trainee import Trainee

    task, _ = task_of(uniform_negatives=8)
    parts, kinds, real = parts_of(task), [], learning.contrastive_loss
    precision = Precision.of("cpu", fast=True)
    monkeypatch.setattr(Precision, "bfloat16", True)
    monkeypatch.setattr(
        learning,
        "contrastive_loss",
        lambda *given: kinds.append((given[0] @ given[1].T).dtype) or real(*given),
    )
    step = learning.steps_of(task.plan, parts, 0)[0]
    loss = learning.loss_of(
        task.plan, Trainee(task.plan), learning.batch_of(task, parts, step, 0, precision), precision
    )
    assert loss.dtype == torch.float32
    assert set(kinds) == {torch.float32}


# ---- blocks of other packages --------------------------------------------------------------------

BLOCK = """
import torch
from torch import nn

class Gate(nn.Module):
    made = []

    def __init__(self, tokens_in, tokens_out, width, hidden, heads):
        super().__init__()
        self.mix = nn.Linear(tokens_in * width, tokens_out * width)
        self.shape = (tokens_out, width)
        Gate.made.append(self.shape)

    def forward(self, x):
        return torch.sigmoid(self.mix(x.flatten(1))).unflatten(1, self.shape)
"""


def test_a_block_of_another_package_is_used_by_its_name(task_of, tmp_path, monkeypatch) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "my_blocks.py").write_text(BLOCK)
    monkeypatch.syspath_prepend(tmp_path / "package")
    task, ids = task_of(dhen={"layers": [["my_blocks:Gate", "mlp"], ["my_blocks:Gate"]]})
    fit_day(task)
    import my_blocks

    assert len(my_blocks.Gate.made) >= 2 * 4  # two layers of two towers and two overtowers
    for snapshot in embed_day(task, space_of(task, day(0)), ids):
        np.testing.assert_allclose(np.linalg.norm(snapshot.vectors_ND, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_package:Gate", "the module 'no_such_package' cannot be imported"),
        ("headwater.nn:NoBlock", "has no 'NoBlock'"),
        ("headwater.nn:masked_bce", "should be a class"),
        ("maskent", "no block named 'maskent'; there are: masknet"),
    ],
)
def test_a_block_that_is_not_there_is_said_before_a_day_is_trained(
    make_factory, name, message
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_factory(one(dhen={"layers": [[name]]}))


def test_a_block_that_a_package_offers_but_cannot_load_is_said(make_factory, monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    from headwater import plugins

    broken = EntryPoint("gate", "no_such_package.blocks:Gate", "headwater.block")
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [broken] if group == "headwater.block" else []
    )
    with pytest.raises(
        ConfigError,
        match=(
            "block 'gate': its package offers 'no_such_package.blocks:Gate', which cannot be loaded"
        ),
    ):
        make_factory(one(dhen={"layers": [["gate"]]}))


# ---- days on disk --------------------------------------------------------------------------------


def same(one, other) -> bool:
    return one.digest() == other.digest() and one.counters.keys() == other.counters.keys()


def test_a_day_is_encoded_once_and_again_when_its_data_changes(make_factory, monkeypatch) -> None:
    from headwater.events import ExampleReader

    encoded, build = [], ExampleReader.build
    monkeypatch.setattr(
        ExampleReader,
        "build",
        lambda self, events, *rest: encoded.append(events.log.name) or build(self, events, *rest),
    )
    factory = make_factory()
    first = read_day(factory, day(0))
    assert encoded == ["impressions", "visits"]
    again = read_day(make_factory(), day(0))
    assert encoded == ["impressions", "visits"]
    assert all(
        same(rows.examples, again.encoded[key].examples) for key, rows in first.encoded.items()
    )
    items = factory.workspace.root / "world" / "items.parquet"
    pl.read_parquet(items).with_columns(pl.col("price") * 2).write_parquet(items)
    changed = read_day(make_factory(), day(0))
    assert encoded == ["impressions", "visits"] * 2
    assert not same(
        first.encoded["impressions", day(0)].examples,
        changed.encoded["impressions", day(0)].examples,
    )


def test_a_day_larger_than_memory_is_encoded_in_parts_mapped_and_learnt_to_the_same_bytes(
    make_factory, tmp_path, monkeypatch
) -> None:
    import pickle

    from headwater.events import caching
    from headwater.pipeline import inputs as pipeline

    def change(raw) -> None:
        one()(raw)
        for history in raw["histories"].values():
            history["days"] = 1  # of each row, wherever its part begins

    factory = make_factory(change, "whole")
    task = derm_days(factory, read_day(factory, day(3)))["one"]
    fit_day(replace(task, folder=tmp_path / "a"))
    monkeypatch.setattr(pipeline, "PART_ROWS", 37)
    monkeypatch.setattr(caching, "MAPPED_ROWS", 10)
    factory = make_factory(change, "parts")
    inputs = read_day(factory, day(3))
    mapped = inputs.encoded["impressions", day(3)].examples
    assert isinstance(mapped.histories["user"].keys_NL, caching.Mapped)
    assert same(mapped, task.show[0])
    assert (
        len(pickle.dumps(mapped)) < mapped.histories["user"].keys_NL.nbytes / 2
    )  # another process gets paths
    assert same(pickle.loads(pickle.dumps(mapped)), mapped)
    streamed = derm_days(factory, inputs)["one"]
    fit_day(replace(streamed, folder=tmp_path / "b"))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_encoded_days_go_when_they_are_not_needed_any_more(make_factory) -> None:
    factory = make_factory()
    list(factory.backfill(day(0), day(4)))
    kept = {path.name for path in (factory.workspace.layout.root / "cache").glob("*/*")}
    assert kept == {str(day(n)) for n in (2, 3, 4)}  # purchases mature after two days
