"""A variant's rankers: all seeds as one, saved as one, and nobody can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors.torch import load_file

from conftest import day, read_day
from headwater.errors import ModelError
from headwater.models.downstream import (
    RankerJob,
    VariantTask,
    fit_variant,
    predict_day,
    predict_variant,
)
from headwater.pipeline.rankers import shares


@pytest.fixture
def rows(make_factory):
    factory = make_factory()
    return factory, read_day(factory, day(1)).encoded["impressions", day(1)]


def variant_task(factory, rows, tmp_path, name="a", variant="none", **changes):
    plans = {(plan.consumer, plan.variant.name): plan for plan in factory.run.rankers}
    plan = plans["ctr", variant]
    plan = replace(plan, config=plan.config.model_copy(update=changes))
    view = factory.workspace.served_on(rows.day)
    return VariantTask(plan, rows.day, plan.reads(rows), view, None, tmp_path / name, "f")


def days_later(task, days: int):
    """The task of a day after it has learnt the same rows for some days."""
    for n in range(days):
        task = replace(task, folder=task.folder.with_name(f"{task.folder.name}-{n}"))
        fit_variant(task)
        task = replace(task, before=task.folder)
    return task


def test_after_three_days_seeds_are_as_good_as_one_by_one(rows, tmp_path) -> None:
    factory, encoded = rows
    both = days_later(variant_task(factory, encoded.examples, tmp_path, seeds=(0, 1)), 3)
    found = predict_variant(both)
    for seed in (0, 1):
        name = f"alone-{seed}"
        alone = variant_task(factory, encoded.examples, tmp_path, name, seeds=(seed,))
        scores = predict_variant(days_later(alone, 3))[seed]
        np.testing.assert_allclose(found[seed], scores, atol=2e-4)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_a_seed_that_is_dropped_leaves_the_others_as_they_were(rows, tmp_path) -> None:
    factory, encoded = rows
    task = days_later(variant_task(factory, encoded.examples, tmp_path, seeds=(0, 1, 2)), 1)
    whole = predict_variant(task)
    config = task.plan.config.model_copy(update={"seeds": (2, 0)})
    fewer = replace(task, plan=replace(task.plan, config=config))
    for seed, scores in predict_variant(fewer).items():
        np.testing.assert_allclose(scores, whole[seed], atol=1e-6)
    fit_variant(replace(fewer, folder=tmp_path / "fewer"))
    fit_variant(replace(task, folder=tmp_path / "whole"))
    then = [
        predict_variant(replace(one, before=tmp_path / name))
        for name, one in (("fewer", fewer), ("whole", task))
    ]
    for seed in (0, 2):
        np.testing.assert_allclose(then[0][seed], then[1][seed], atol=1e-4)


def test_a_seed_that_was_never_learnt_is_refused(rows, tmp_path) -> None:
    factory, encoded = rows
    task = days_later(variant_task(factory, encoded.examples, tmp_path, seeds=(0,)), 1)
    more = task.plan.config.model_copy(update={"seeds": (0, 5)})
    with pytest.raises(ModelError, match=r"holds the rankers of the seeds \(0,\), not of \[5\]"):
        predict_variant(replace(task, plan=replace(task.plan, config=more)))


def test_of_tables_what_was_learnt_is_saved_and_all_comes_back(rows, tmp_path) -> None:
    factory, encoded = rows
    task = variant_task(factory, encoded.examples, tmp_path, id_buckets=20_000, seeds=(0, 1))
    task = days_later(task, 1)
    saved = load_file(task.folder / "rankers.safetensors")
    users = len(np.unique(encoded.examples.keys["user"]))
    kept = len(saved["model.features.user.table.weight"])
    assert 2 * users < kept < 2 * users + 200  # and those of a few categories
    assert (task.folder / "rankers.safetensors").stat().st_size < 1 << 20
    strangers = replace(
        task.rows, keys=dict(task.rows.keys) | {"user": task.rows.keys["user"] + np.uint64(1)}
    )
    ids = predict_variant(replace(task, rows=strangers))
    again = predict_variant(replace(task, rows=strangers))
    for seed in (0, 1):
        np.testing.assert_array_equal(ids[seed], again[seed])


def test_variants_of_a_job_are_what_they_are_alone(rows, tmp_path) -> None:
    factory, encoded = rows
    plans = tuple(plan for plan in factory.run.rankers if plan.consumer == "ctr")
    view = factory.workspace.served_on(day(1))
    job = RankerJob(plans, day(1), encoded.rows, view, None, tmp_path / "x", "f")
    together = predict_day(job)
    assert len(together) == len(plans) > 1
    for plan, found in zip(plans, together, strict=True):
        (alone,) = predict_day(replace(job, plans=(plan,)))
        np.testing.assert_array_equal(found.scores[0], alone.scores[0])
        np.testing.assert_array_equal(found.whole_N, alone.whole_N)


def test_a_consumers_variants_are_shared_out_among_the_workers(make_factory) -> None:
    plans = make_factory().run.rankers
    for workers in (0, 1, 2, 9):
        found = list(shares(plans, workers))
        assert [plan for share in found for plan in share] == plans
        sizes = {
            name: [len(share) for share in found if share[0].consumer == name]
            for name in ("ctr", "cvr")
        }
        wanted = {
            0: {"ctr": [3], "cvr": [2]},
            1: {"ctr": [3], "cvr": [2]},
            2: {"ctr": [1, 2], "cvr": [1, 1]},
            9: {"ctr": [1, 1, 1], "cvr": [1, 1]},
        }
        assert sizes == wanted[workers]
