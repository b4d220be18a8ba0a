"""Every online store keeps this contract; run it on your own by adding it to STORES."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from headwater.errors import StoreError
from headwater.store import LmdbStore, MemoryStore
from test_embeddings import snap
from test_store import spread

STORES = [MemoryStore, LmdbStore]


@pytest.fixture(params=STORES, ids=lambda cls: cls.__name__)
def store(request, tmp_path):
    return request.param(tmp_path / "online")


def test_what_goes_in_comes_out(store) -> None:
    vectors = spread(300)
    snapshot = snap(vectors)
    store.load(snapshot)
    for key, vector in list(vectors.items())[:20]:
        np.testing.assert_allclose(store.get(snapshot.digest, key), vector, rtol=1e-6)
    assert store.get(snapshot.digest, 1) is None


def test_editions_lie_side_by_side_and_are_forgotten_on_request(store) -> None:
    one, two = snap({7: [1, 2]}), snap({7: [3, 4]})
    for snapshot in (one, two, one):
        store.load(snapshot)
    assert store.get(one.digest, 7).tolist() == [1, 2]
    assert store.get(two.digest, 7).tolist() == [3, 4]
    store.keep({two.digest})
    assert store.get(two.digest, 7).tolist() == [3, 4]
    with pytest.raises(StoreError, match="does not hold"):
        store.get(one.digest, 7)


def test_an_unknown_snapshot_is_an_error_not_an_unknown_id(store) -> None:
    with pytest.raises(StoreError, match="does not hold"):
        store.get("0" * 32, 7)


def test_many_threads_may_look_up_at_once(store) -> None:
    vectors = spread(50)
    snapshot = snap(vectors)
    store.load(snapshot)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda key: store.get(snapshot.digest, key), list(vectors) * 4))
    np.testing.assert_allclose(found, list(vectors.values()) * 4, rtol=1e-6)
