"""The classes of `my_package`, each with a fault that its suite must find. In each: the tests that
find it.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import as_completed

import faiss
import my_package
import numpy as np
import pytest

from headwater import testing


class TestMyBlock(testing.BlockContract):
    # test_a_batch_is_its_rows_one_by_one
    def make(self, *sizes):
        class Batched(my_package.MyBlock):
            def forward(self, x_BTE):
                return super().forward(x_BTE - x_BTE.mean(dim=0))

        return Batched(*sizes)


class TestMyHead(testing.HeadContract):
    # test_tasks_that_want_opposite_things_are_both_learnt
    def make(self, *settings):
        class OneForAll(my_package.MyHead):
            def forward(self, x_BF):
                found = super().forward(x_BF)
                return dict.fromkeys(found, sum(found.values()))

        return OneForAll(*settings)


class TestMyRanker(testing.RankerContract):
    # test_a_taste_that_only_the_vectors_know_is_learnt_from_them_and_by_nothing_else
    # test_it_reads_all_that_it_is_given[ctr_user]
    def make(self, *settings):
        class Blind(my_package.MyRanker):
            def interact(self, tokens_BTE, embeddings_BF):
                if embeddings_BF is not None:
                    embeddings_BF = 0 * embeddings_BF
                return super().interact(tokens_BTE, embeddings_BF)

        return Blind(*settings)


class TestMyIndex(testing.IndexContract):
    # test_neighbours_are_the_nearest_directions
    def make(self, space, vectors_ND):
        class ByDistance(my_package.MyIndex):
            @classmethod
            def empty(cls, width):
                return faiss.IndexHNSWFlat(width, 48)

        return ByDistance.build(space, vectors_ND)


class TestMyStore(testing.OnlineStoreContract):
    # test_the_first_name_that_has_a_key_answers
    # test_it_answers_as_dicts_do
    def make(self, folder):
        class LastFirst(my_package.MyStore):
            def get(self, names, keys_N):
                return super().get(names[::-1], keys_N)

        return LastFirst(folder)


class InPlace(my_package.MyPolicy):
    def step(self, states_NW, steps_N, today_ND, gap_days_N):
        moved, steps_N = super().step(states_NW, steps_N, today_ND, gap_days_N)
        states_NW[:] = moved
        return states_NW, steps_N


class Crowd(my_package.MyPolicy):
    def step(self, states_NW, steps_N, today_ND, gap_days_N):
        today_ND = today_ND - np.mean(today_ND, axis=0, dtype=np.float32)
        return super().step(states_NW, steps_N, today_ND, gap_days_N)


class TestInPlace(testing.PolicyContract):
    # test_states_and_steps_have_their_shapes_and_arguments_are_left_alone
    def make(self):
        return {"kind": f"{__name__}:InPlace", "settings": {"most": 255}}


class TestCrowd(testing.PolicyContract):
    # test_how_the_store_cuts_its_work_is_not_seen[0]
    # test_what_is_served_lies_among_what_was_given_and_a_constant_stays_one[0]
    def make(self):
        return {"kind": f"{__name__}:Crowd", "settings": {"most": 255}}


class TestShort(testing.PolicyContract):
    # test_the_store_does_what_the_slow_twin_does[0]
    def make(self):
        return {"kind": "my_package:MyPolicy", "settings": {"most": 2}}

    def twin(self, sights):
        return np.mean([vector for _, vector in sights], axis=0)


class TestMyTracker(testing.TrackerContract):
    # test_a_day_goes_on_where_the_days_before_it_ended
    def make(self, *settings):
        class Forgetful(my_package.MyTracker):
            def log(self, day, series):
                self.path.unlink(missing_ok=True)
                super().log(day, series)

        return Forgetful(*settings)

    def logged(self, name, folder):
        return my_package.read_back(folder / f"{name}.jsonl")


class TestMyEngine(testing.EngineContract):
    # test_results_come_in_the_order_of_the_tasks
    def make(self):
        class AsTheyCome(my_package.MyEngine):
            def map(self, function, jobs, need=None):
                running = [self.pool.submit(function, job) for job in jobs]
                return (done.result() for done in as_completed(running))

        return AsTheyCome(3)


class TestMyBlobs(testing.BlobsContract):
    # test_a_key_is_created_once
    # test_of_racing_writers_one_wins_and_its_bytes_stay
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "blobs.sqlite"

    def make(self):
        class LastWins(my_package.MyBlobs):
            def create(self, key, data):
                self.write(key, data)
                return True

        return LastWins(self.path)


class Amnesiac(my_package.MyUpstream):
    def run(self, job):
        return super().run(dataclasses.replace(job, before=None))


class Unseeded(my_package.MyUpstream):
    def _direction(self, plan, key):
        return np.random.default_rng().standard_normal(plan.width, np.float32)


class TestAmnesiac(testing.UpstreamContract):
    # test_days_stay_in_one_space
    def settings(self):
        return {"kind": f"{__name__}:Amnesiac", "settings": {"width": 8}}


class TestUnseeded(testing.UpstreamContract):
    # test_the_same_job_gives_the_same_bytes
    def settings(self):
        return {"kind": f"{__name__}:Unseeded", "settings": {"width": 8}}
