"""Lanes and alignment: a new space beside the live one, turned upon it, promoted in one step."""

from __future__ import annotations

import numpy as np
import pytest

from at import catalog_at, catalog_bytes
from conftest import day
from headwater.config import AlignConfig
from headwater.embeddings.alignment import Rotation, fit_rotation, refusals
from headwater.errors import ConfigError, EditionMissing, SpaceMismatch, StoreError
from headwater.factory import Factory
from headwater.lifecycle import align_lane, promote, rollback
from headwater.serving.reader import Reader
from headwater.store import MAIN
from shop import Shop, after, space_of, vectors_of

NEW = space_of(4, "b" * 32)


def turn(seed: int, width: int = 4) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((width, width)))[0]


def pair(noise: float = 0.0, n: int = 300):
    """Old vectors, and the same turned, with noise."""
    old = np.random.default_rng(0).standard_normal((n, 4))
    new = old @ turn(1).T + noise * np.random.default_rng(2).standard_normal((n, 4))
    return old, new


def test_a_rotation_is_found_exactly() -> None:
    old, new = pair()
    ids = list(range(300))
    fit = fit_rotation(
        {"user": (vectors_of(ids, new, space=NEW), vectors_of(ids, old, space=space_of(4)))}
    )
    np.testing.assert_allclose(fit.rotation.matrix_DD, turn(1), atol=1e-5)
    assert fit.residual < 1e-10
    assert (fit.cosine, fit.shared) == (pytest.approx(1), 300)
    assert refusals(fit, AlignConfig()) == []
    assert fit.cosine_raw < 0.5


def test_the_figures_are_of_entities_it_was_not_fitted_on() -> None:
    generator = np.random.default_rng(3)
    ids = list(range(40))
    noise = {
        side: vectors_of(ids, generator.standard_normal((40, 30)), space=space_of(30, side * 32))
        for side in "ab"
    }
    fit = fit_rotation({"user": (noise["b"], noise["a"])})
    assert (
        abs(fit.cosine) < 0.25
    )  # fitted and measured on the same 20 vectors of 30 dimensions, it would look like .9
    assert [why.split()[0] for why in refusals(fit, AlignConfig(min_shared=100))] == [
        "40",
        "mean",
        "residual",
    ]


def test_one_rotation_serves_users_and_items() -> None:
    old, new = pair()
    ids = list(range(150))
    fit = fit_rotation(
        {
            "user": (
                vectors_of(ids, new[:150], space=NEW),
                vectors_of(ids, old[:150], space=space_of(4)),
            ),
            "item": (
                vectors_of(ids, new[150:], entity="item", space=NEW),
                vectors_of(ids, old[150:], entity="item", space=space_of(4)),
            ),
        }
    )
    np.testing.assert_allclose(new @ fit.rotation.matrix_DD, old, atol=1e-5)
    assert set(fit.cosine_of) == {"user", "item"}


def test_widths_must_be_equal_and_spaces_the_right_ones() -> None:
    with pytest.raises(SpaceMismatch, match="different widths"):
        fit_rotation(
            {
                "user": (
                    vectors_of([1], [[1, 0]], space=space_of(2, "b" * 32)),
                    vectors_of([1], [[1, 0, 0]]),
                )
            }
        )
    rotation = Rotation(NEW, space_of(4), turn(1).astype(np.float32))
    with pytest.raises(SpaceMismatch):
        rotation.apply_to(space_of(4))
    assert Rotation.from_json(rotation.as_json()).digest == rotation.digest


def two_lanes(root, noise: float = 0.0) -> Shop:
    """Two days in `main`, and the same two turned in the lane `new`."""
    shop = Shop(root, {"kind": "ema", "weight": 0.5}, align={"min_shared": 10})
    old, new = pair(noise)
    for n in range(2):
        shop.publish(
            after(n), [vectors_of(list(range(300)), old * (n + 1), after(n), space=space_of(4))]
        )
        shop.publish(
            after(n),
            [vectors_of(list(range(300)), new * (n + 1), after(n), space=NEW)],
            lane="new",
            live=False,
        )
    return shop


def test_an_aligned_lane_takes_over_and_goes_on_averaging(tmp_path) -> None:
    shop = two_lanes(tmp_path)
    before = shop.reader.lookup("user", [5]).vectors["5"]["ctr_user"]
    found = align_lane(shop.workspace, "new")
    assert found.fits["ctr"].cosine == pytest.approx(1)
    promote(shop.workspace, "new", after(1))
    assert shop.live.space("ctr_user") == space_of(4)  # readers stay in the space they know
    np.testing.assert_allclose(
        shop.reader.lookup("user", [5]).vectors["5"]["ctr_user"], before, atol=1e-5
    )
    old, new = pair()
    shop.publish(after(2), [vectors_of(list(range(300)), new * 5, after(2), space=NEW)], lane="new")
    expected = (
        old[5] * 1.5 + old[5] * 5
    ) / 2  # the average goes on: today's vector is turned before it joins
    np.testing.assert_allclose(
        shop.reader.lookup("user", [5]).vectors["5"]["ctr_user"], expected, atol=1e-4
    )
    rollback(shop.workspace, after(1))
    np.testing.assert_allclose(
        shop.reader.lookup("user", [5]).vectors["5"]["ctr_user"], before, atol=1e-5
    )
    promote(shop.workspace, MAIN, after(1))
    assert catalog_at(tmp_path).live.lane == MAIN


def test_where_the_residual_says_no_nothing_changes(tmp_path) -> None:
    shop = two_lanes(tmp_path, noise=5.0)
    before = catalog_bytes(tmp_path)
    with pytest.raises(
        SpaceMismatch,
        match=(
            r"cosine after the rotation is 0\.\d+, at least 0.600 is needed(?s:.*)headwater promote"
            r" 2025-01-02 --lane new"
        ),
    ):
        align_lane(shop.workspace, "new")
    assert catalog_bytes(tmp_path) == before
    with pytest.raises(EditionMissing, match="has no edition yet"):
        align_lane(shop.workspace, "other")
    with pytest.raises(SpaceMismatch, match="nothing to align"):
        align_lane(shop.workspace, MAIN, onto=MAIN)


def test_a_lane_of_a_factory_runs_beside_is_aligned_and_promoted(make_factory) -> None:
    def change(raw) -> None:
        raw["lanes"] = {"v2": {"upstreams": {"ctr": {"seed": 7}, "cvr": {"seed": 7}}}}
        raw["lifecycle"]["align"] = {"min_shared": 10, "min_cosine": -1, "max_residual": 9}

    main = make_factory(change)
    lane = Factory(
        main.config.model_copy(update={"lanes": parse_lanes(make_factory, change)}),
        main.workspace.root,
        lane="v2",
    )
    for factory in (main, lane):
        for _ in factory.backfill(day(0), day(2)):
            pass
    live = catalog_at(main.workspace.layout.root).live
    assert (live.lane, live.entry.day) == (MAIN, day(2))
    assert lane.workspace.edition(day(2)).space("ctr_user") != main.workspace.edition(day(2)).space(
        "ctr_user"
    )
    align_lane(lane.workspace, "v2")
    promote(lane.workspace, "v2", day(2))
    assert lane.run_day(day(2)).edition  # done, and recognised as aligned
    report = lane.run_day(day(3))
    assert report.day == day(3)
    assert catalog_at(main.workspace.layout.root).live.entry.day == day(3)
    assert lane.workspace.edition(day(3)).space("ctr_user") == main.workspace.edition(day(2)).space(
        "ctr_user"
    )
    assert Reader(main.workspace).similar("item", "ad-1").edition == day(3)


def parse_lanes(make_factory, change):
    from headwater.config import parse_config

    raw = {"v2": {"upstreams": {"ctr": {"seed": 7}, "cvr": {"seed": 7}}}}
    factory = make_factory(change)
    return parse_config({**factory.config.model_dump(exclude_unset=True), "lanes": raw}).lanes


def test_lanes_are_checked_like_everything_else(make_factory) -> None:
    with pytest.raises(ConfigError, match=r"lanes.v2.upstreams: no upstream named 'ctrr'"):
        make_factory(lambda raw: raw.update(lanes={"v2": {"upstreams": {"ctrr": {"seed": 7}}}}))
    with pytest.raises(ConfigError, match="no lane named 'v3'"):
        Factory(make_factory().config, make_factory().workspace.root, lane="v3")
    with pytest.raises(StoreError):
        promote(make_factory().workspace, "v3", day(0))
