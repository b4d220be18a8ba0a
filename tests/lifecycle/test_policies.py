"""Policies through the store: hand numbers, a slow twin, and properties that must hold for any
days.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater import plugins
from headwater.errors import ConfigError, SpaceMismatch, StoreError
from headwater.store import Edition
from policy_twin import POLICIES, Twin
from shop import D0, Shop, after, space_of, vectors_of


def publish(shop: Shop, days: dict[int, dict[Any, list[float]]]) -> dict[int, Any]:
    return {
        n: shop.publish(after(n), [vectors_of(list(seen), list(seen.values()), after(n))])
        for n, seen in days.items()
    }


def test_one_step_by_hand(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "ema", "weight": 0.8})
    edition = publish(shop, {0: {1: [1, 0], 2: [0, 1]}, 1: {2: [1, 1], 3: [2, 2]}})[1]
    np.testing.assert_allclose(
        [shop.vector(edition, n) for n in (1, 2, 3)], [[1, 0], [0.2, 1.0], [2, 2]], rtol=1e-6
    )  # carried, averaged, first sight
    served = edition.lookup("ctr_user", np.sort(edition.part("ctr_user").keys), after(1))
    assert sorted(served.age_days_N.tolist()) == [0, 0, 1]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"kind": "latest"}, [4, 0]),
        ({"kind": "mean", "k": 2}, [3, 0]),
        ({"kind": "mean", "k": 9}, [7 / 3, 0]),
        ({"kind": "ema", "weight": 0.5}, [2.75, 0]),  # (1, 2) -> 1.5, (1.5, 4) -> 2.75
        (
            {"kind": "ema", "half_life_days": 1.0},
            [3.375, 0],
        ),  # gaps of 1 and 2 days: 1.5, then 1.5 / 4 + 4 x 3 / 4
        ({"kind": "ema", "weight": 0.5, "renormalize": True}, [1, 0]),
    ],
)
def test_three_sights_by_hand(tmp_path, policy, expected) -> None:
    shop = Shop(tmp_path, policy)
    edition = publish(shop, {0: {7: [1, 0]}, 1: {7: [2, 0]}, 3: {7: [4, 0]}})[3]
    np.testing.assert_allclose(shop.vector(edition, 7), expected, rtol=1e-6)


def test_the_last_k_are_a_sequence_newest_first(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "last", "k": 3})
    editions = publish(shop, {n: {7: [n, 0], **({8: [9, 9]} if n == 2 else {})} for n in range(5)})
    assert shop.vector(editions[1], 7).tolist() == [[1, 0], [0, 0]]
    assert shop.vector(editions[4], 7).tolist() == [[4, 0], [3, 0], [2, 0]]
    assert shop.vector(editions[4], 8).tolist() == [[9, 9]]
    assert editions[4].read("ctr_user").vectors_ND.shape == (
        2,
        2,
    )  # the newest stands for the entity in a search
    assert shop.reader.lookup("user", [7]).vectors["7"]["ctr_user"] == [[4, 0], [3, 0], [2, 0]]


def test_a_young_space_does_not_remember(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "ema", "weight": 0.5, "warm_up_days": 2})
    editions = publish(shop, {0: {1: [0, 0]}, 1: {1: [1, 1]}, 2: {1: [3, 3]}})
    assert shop.vector(editions[1], 1).tolist() == [1, 1]
    assert shop.vector(editions[2], 1).tolist() == [2, 2]


def test_an_entity_expires_after_its_days_and_not_before(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "ema", "weight": 0.5}, expire_days=3)
    editions = publish(
        shop, {0: {1: [1, 0]}, 3: {2: [0, 1]}, 4: {2: [0, 1]}, 5: {1: [3, 0], 2: [0, 1]}}
    )
    assert shop.vector(editions[3], 1).tolist() == [1, 0]
    assert shop.vector(editions[4], 1) is None
    assert shop.vector(editions[5], 1).tolist() == [3, 0]  # back again: a first sight
    assert shop.reader.lookup("user", [1]).vectors["1"]["ctr_user"] == [3, 0]


def test_the_online_store_forgets_the_expired_too(tmp_path) -> None:
    shop = Shop(tmp_path, {"kind": "ema"}, expire_days=3)
    publish(shop, {0: {1: [1, 0]}, 4: {2: [0, 1]}})
    with pytest.raises(StoreError, match="no user '1'"):
        shop.reader.lookup("user", [1])


def test_mixed_spaces_raise(tmp_path) -> None:
    shop = Shop(tmp_path)
    shop.publish(D0, [vectors_of([1], [[1, 0]])])
    with pytest.raises(SpaceMismatch, match="2 spaces may not meet"):
        shop.publish(after(1), [vectors_of([1], [[1, 0]], after(1), space=space_of(2, "b" * 32))])
    assert shop.live.day == D0


DAYS = st.lists(
    st.dictionaries(
        st.integers(0, 12),
        st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32)),
        max_size=8,
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(DAYS, st.sampled_from(POLICIES), st.sampled_from([1, 2, 64]), st.sampled_from([1, 2, 200]))
def test_the_store_does_what_the_slow_twin_does(days, policy, bucket_rows, compact_after) -> None:
    with tempfile.TemporaryDirectory() as root:
        shop = Shop(
            Path(root),
            policy,
            {"bucket_rows": bucket_rows, "compact_after": compact_after, "online": "none"},
            expire_days=3,
        )
        twin = Twin(policy, 3)
        for n, seen in enumerate(days):
            twin.day(n, seen)
            edition = shop.publish(
                after(n), [vectors_of(list(seen), list(seen.values()), after(n), space=space_of())]
            )
            assert edition.part("ctr_user").rows == len(twin.seen)
            for value in twin.seen:
                np.testing.assert_allclose(
                    shop.vector(edition, value), twin.vector(value), rtol=1e-4, atol=1e-4
                )


@settings(max_examples=40, deadline=None)
@given(DAYS, st.sampled_from(POLICIES), st.randoms())
def test_hull_constants_and_the_order_of_ids(days, policy, shuffle) -> None:
    with tempfile.TemporaryDirectory() as root:
        store = {"bucket_rows": 2, "online": "none"}
        one, two, same = (Shop(Path(root) / name, policy, store) for name in ("one", "two", "same"))
        seen: dict[Any, list[list[float]]] = {}
        for n, vectors in enumerate(days):
            mixed = list(vectors.items())
            shuffle.shuffle(mixed)
            a = one.publish(
                after(n),
                [vectors_of(list(vectors), list(vectors.values()), after(n), space=space_of())],
            )
            b = two.publish(
                after(n),
                [
                    vectors_of(
                        [v for v, _ in mixed], [x for _, x in mixed], after(n), space=space_of()
                    )
                ],
            )
            c = same.publish(
                after(n),
                [
                    vectors_of(
                        list(vectors), [[1.25, -0.3]] * len(vectors), after(n), space=space_of()
                    )
                ],
            )
            assert a.digest == b.digest  # the order of ids is irrelevant
            for value, vector in vectors.items():
                seen.setdefault(value, []).append(list(vector))
            for value, history in seen.items():
                found = np.atleast_2d(one.vector(a, value))
                if not policy.get("renormalize"):
                    assert (found >= np.min(history, axis=0) - 1e-4).all()  # in the convex hull
                    assert (found <= np.max(history, axis=0) + 1e-4).all()
                    assert (
                        np.atleast_2d(same.vector(c, value)) == np.float32([1.25, -0.3])
                    ).all()  # a constant stays one, bit for bit


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6),
    st.floats(0.5, 8),
    st.tuples(st.floats(-5, 5, width=32), st.floats(-5, 5, width=32)),
)
def test_a_gap_of_g_days_equals_g_steps(gap, half_life, vector) -> None:
    policy = {"kind": "ema", "half_life_days": half_life}
    with tempfile.TemporaryDirectory() as root:
        gapped, stepped = (
            Shop(Path(root) / name, policy, {"online": "none"}) for name in ("gapped", "stepped")
        )
        for shop in (gapped, stepped):
            shop.publish(D0, [vectors_of([1], [[1, -1]])])
        once = gapped.publish(after(gap), [vectors_of([1], [vector], after(gap))])
        for n in range(1, gap + 1):
            often = stepped.publish(after(n), [vectors_of([1], [vector], after(n))])
        np.testing.assert_allclose(
            gapped.vector(once, 1), stepped.vector(often, 1), rtol=1e-4, atol=1e-5
        )


def test_averages_cannot_go_on_from_states_of_another_depth(tmp_path) -> None:
    publish(Shop(tmp_path, {"kind": "ema"}), {0: {1: [1, 0]}})
    with pytest.raises(StoreError, match="averages cannot go on"):
        publish(Shop(tmp_path, {"kind": "last", "k": 2}), {1: {1: [1, 0]}})


def test_text_ids_and_integers_may_follow_each_other(tmp_path) -> None:
    shop = Shop(tmp_path, store={"compact_after": 1})
    shop.publish(D0, [vectors_of([1, 2], [[1, 0], [0, 1]])])
    edition = shop.publish(after(1), [vectors_of(["2", "zoë"], [[0, 1], [1, 1]], after(1))])
    assert sorted(map(str, edition.read("ctr_user").ids)) == ["1", "2", "zoë"]
    assert shop.reader.lookup("user", ["zoë", 2]).vectors["2"]["ctr_user"] == [0, 1]


# ---- policies of other packages ------------------------------------------------------------------

LONGEST = '''
import numpy as np

from headwater.embeddings import Policy


class Longest(Policy):
    """The longest vector of an entity, what was kept having lost a share of its length a day."""

    def __init__(self, settings):
        super().__init__(settings)
        self.keeps = 1 - float(settings["loses"])

    def step(self, states_NW, steps_N, today_ND, gap_days_N):
        kept = (states_NW * self.keeps ** gap_days_N[:, None]).astype(np.float32)
        longer = np.linalg.norm(today_ND, axis=1) >= np.linalg.norm(kept, axis=1)
        return np.where(longer[:, None], today_ND, kept), np.minimum(steps_N, 254) + np.uint8(1)


class NoPolicy:
    def __init__(self, settings):
        pass
'''


@pytest.fixture
def longest(tmp_path_factory, monkeypatch) -> dict[str, Any]:
    """A policy that another package has, as factory.yaml names it."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "my_policies.py").write_text(LONGEST)
    monkeypatch.syspath_prepend(folder)
    return {"kind": "my_policies:Longest", "settings": {"loses": 0.5}}


def test_a_policy_of_another_package_goes_from_config_to_published_vectors(
    tmp_path, longest
) -> None:
    shop = Shop(tmp_path, longest)
    edition = publish(shop, {0: {1: [4, 0], 2: [8, 0]}, 1: {1: [0, 1]}, 3: {2: [0, 2], 1: [3, 0]}})[
        3
    ]
    # 1: (4, 0) -> (2, 0), longer than (0, 1) -> a quarter of it; 2: (8, 0) -> (1, 0) in three days
    assert shop.vector(edition, 1).tolist() == [3, 0]
    assert shop.vector(edition, 2).tolist() == [0, 2]
    assert shop.reader.lookup("user", [1, 2]).vectors == {
        "1": {"ctr_user": [3, 0]},
        "2": {"ctr_user": [0, 2]},
    }
    assert edition.policy_config.model_dump(mode="json") == longest
    assert type(Edition.load(edition.folder).policy).__name__ == "Longest"


def test_it_may_be_offered_by_an_entry_point(tmp_path, longest, monkeypatch) -> None:
    point = EntryPoint("longest", "my_policies:Longest", "headwater.policy")
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [point] if group == "headwater.policy" else []
    )
    shop = Shop(tmp_path, {"kind": "longest", "settings": {"loses": 0.5}})
    edition = publish(shop, {0: {1: [4, 0]}, 1: {1: [0, 1]}})[1]
    assert shop.vector(edition, 1).tolist() == [2, 0]


def test_its_settings_take_part_in_the_digests_as_they_were_given(tmp_path, longest) -> None:
    days = {0: {1: [4, 0]}}

    def digest(name: str, settings: dict[str, Any]) -> str:
        return publish(Shop(tmp_path / name, longest | {"settings": settings}), days)[0].digest

    one = digest("one", {"loses": 0.5})
    assert digest("same", {"loses": 0.5}) == one
    assert digest("other", {"loses": 0.25}) != one
    assert digest("spelt", {"loses": "0.5"}) != one


@pytest.mark.parametrize(
    ("policy", "edition", "copy"),
    [
        ({"kind": "ema"}, "3046ae7e2b42819c15fa56430e427407", "767ba3ab"),
        ({"kind": "ema", "half_life_days": 2.0}, "c5613aab883b64a26a30f98183036d78", "4670fd32"),
        ({"kind": "latest"}, "471853cb698b895df44ee08ef27383fc", "6686628a"),
        ({"kind": "mean", "k": 3}, "bde50b1f7ce40bdc1d820eeaf33539f7", "8a4eed30"),
        (
            {"kind": "last", "k": 3, "warm_up_days": 2},
            "79b10c154f488e44a82ae5c51e8aa17c",
            "41210295",
        ),
    ],
)
def test_the_digests_of_our_own_policies_are_those_that_warehouses_have(
    tmp_path, policy, edition, copy
) -> None:
    shop = Shop(tmp_path, policy)
    shop.publish(D0, [vectors_of([1, 2], [[1, 0], [0, 1]])])
    assert shop.publish(after(1), [vectors_of([2], [[1, 1]], after(1))]).digest == edition
    assert {path.stem[-8:] for path in (tmp_path / "online" / "lmdb").glob("*.mdb")} == {copy}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"kind": "longst"}, "no policy named 'longst'; there are: ema, latest, mean, last"),
        ({"kind": "no_such_package:Longest"}, "'no_such_package' cannot be imported"),
        ({"kind": "my_policies:Longest"}, r"cannot be made as Longest\(settings\).*'loses'"),
        ({"kind": "my_policies:Longest", "settings": {"loses": float("nan")}}, "finite number"),
        ({"kind": "my_policies:Longest", "settings": {"loses": D0}}, "not a valid JSON value"),
        ({"kind": "my_policies:Longest", "loses": 0.5}, r"foreign\.loses: unknown key"),
        ({"settings": {}}, "Unable to extract tag using discriminator 'kind'"),
    ],
)
def test_a_policy_that_cannot_be_made_is_said_when_the_config_is_read(
    tmp_path, longest, policy, message
) -> None:
    with pytest.raises(ConfigError, match=message):
        Shop(tmp_path, policy)


def test_a_class_that_is_no_policy_is_said(tmp_path, longest) -> None:
    with pytest.raises(ConfigError, match="should be a subclass of headwater.embeddings.Policy"):
        publish(Shop(tmp_path, {"kind": "my_policies:NoPolicy"}), {0: {1: [1, 0]}})


def test_an_edition_can_be_listed_where_the_package_of_its_policy_is_not_installed(
    tmp_path, longest, monkeypatch
) -> None:
    edition = publish(Shop(tmp_path, longest), {0: {1: [4, 0]}})[0]
    monkeypatch.delitem(sys.modules, "my_policies")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "package" not in path])
    found = Edition.load(edition.folder)
    assert found.part("ctr_user").rows == 1
    with pytest.raises(ConfigError, match="Install its package"):
        _ = found.policy
