"""A share of the users is judged: it changes what is judged, and nothing that is published."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from conftest import day, tiny_config
from headwater.config import parse_config
from headwater.errors import ExperimentError
from headwater.evaluation import are_judged
from headwater.evidence import ask, table_of
from headwater.factory import Factory

SHARE = 0.4


def test_a_share_is_stable_nested_and_of_its_size() -> None:
    users_N = np.random.default_rng(0).integers(0, 1 << 63, 100_000).astype(np.uint64)
    some, more = are_judged(users_N, 0.2), are_judged(users_N, 0.5)
    assert some.mean() == pytest.approx(0.2, abs=0.006)
    assert more.mean() == pytest.approx(0.5, abs=0.008)
    assert not (some & ~more).any()
    assert are_judged(users_N, 1.0).all()
    # known answers: whom a factory judges must never change
    assert are_judged(np.arange(12, dtype=np.uint64), 0.5).tolist() == KNOWN


KNOWN = [bool(int(flag)) for flag in "111111000100"]


def test_it_is_no_part_of_what_shapes_vectors_or_scores(world) -> None:
    raw = tiny_config(world)
    sampled = parse_config(raw | {"evaluation": {"users_share": SHARE}})
    assert sampled.digest() == parse_config(raw).digest()


@pytest.fixture(scope="module")
def both(world, tmp_path_factory) -> dict[float, Factory]:
    """Two factories that ran three days, of which one judges some of the users."""
    made = {}
    for share in (1.0, SHARE):
        raw = tiny_config(world)
        raw["evaluation"] |= {"users_share": share}
        made[share] = Factory(parse_config(raw), tmp_path_factory.mktemp("share"))
        for n in range(3):
            made[share].run_day(day(n))
    return made


def judged_at(factory: Factory, kind: str = "judged") -> pl.DataFrame:
    layout = factory.workspace.layout
    return pl.read_parquet(getattr(layout, kind)("ctr", day(2)))


def test_vectors_are_the_same_and_rankers_too(both) -> None:
    whole, some = (both[share].workspace.chain().days for share in (1.0, SHARE))
    assert [entry.digest for entry in whole] == [entry.digest for entry in some]
    files = [
        sorted(factory.workspace.layout.home.glob("models/downstream/*/*/*/rankers.safetensors"))
        for factory in both.values()
    ]
    assert len(files[0]) == len(files[1]) > 0
    for a, b in zip(*files, strict=True):
        assert a.read_bytes() == b.read_bytes()


def test_judged_are_the_rows_of_the_share_with_the_same_scores(both) -> None:
    whole, some = judged_at(both[1.0]), judged_at(both[SHARE])
    mine = whole.filter(pl.Series(are_judged(whole["user"].to_numpy(), SHARE)))
    assert 0 < len(some) < len(whole)
    assert some["user"].to_list() == mine["user"].to_list()
    for name in ("none|0", "all|0"):
        np.testing.assert_allclose(some[name], mine[name], atol=1e-6)
    predicted = judged_at(both[SHARE], "predictions")
    assert predicted.filter(~pl.col("predicted"))["none|0"].is_nan().all()


def test_every_table_says_so(both) -> None:
    noted = "Judged were 0.4 of the users (evaluation.users_share)"
    table = table_of(ask(both[SHARE].workspace, "T2", None))
    assert any(note.startswith(noted) for note in table.notes)
    plain = table_of(ask(both[1.0].workspace, "T2", None))
    assert not any("users_share" in note for note in plain.notes)


def test_a_smaller_share_is_part_of_what_was_judged_and_a_larger_is_not(both) -> None:
    def pooled(factory: Factory, share: float):
        evaluation = factory.config.evaluation.model_copy(
            update={"users_share": share, "start": day(1)}
        )
        config = factory.config.model_copy(update={"evaluation": evaluation})
        workspace = Factory(config, factory.workspace.root).workspace
        return workspace.judged("ctr", workspace.days_done())

    of_all = pooled(both[1.0], SHARE)
    of_some = pooled(both[SHARE], SHARE)
    np.testing.assert_array_equal(of_all.users_N, of_some.users_N)
    with pytest.raises(ExperimentError, match=r"a share of 0.4 of the users was judged, less than"):
        pooled(both[SHARE], 0.5)
