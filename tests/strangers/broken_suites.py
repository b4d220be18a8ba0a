"""The classes of `foreign`, each with a fault that its suite must find. Above each: the test that
finds it.
"""

from __future__ import annotations

from concurrent.futures import as_completed

import faiss
import foreign
import foreign_suites as suites
import numpy as np


class TestGate(suites.BlockContract):
    # test_a_batch_is_its_rows_one_by_one
    def make(self, *sizes):
        class Batched(foreign.Gate):
            def forward(self, x_BTE):
                return super().forward(x_BTE - x_BTE.mean(dim=0))

        return Batched(*sizes)


class TestPlain(suites.HeadContract):
    # test_tasks_that_want_opposite_things_are_both_learnt
    def make(self, *settings):
        class OneForAll(foreign.Plain):
            def forward(self, x_BF):
                found = super().forward(x_BF)
                return dict.fromkeys(found, sum(found.values()))

        return OneForAll(*settings)


class TestMlp(suites.RankerContract):
    # test_a_taste_that_only_the_vectors_know_is_learnt_from_them_and_by_nothing_else
    # test_it_reads_all_that_it_is_given[ctr_user]
    def make(self, *settings):
        class Blind(foreign.Mlp):
            def interact(self, tokens_BTE, embeddings_BF):
                if embeddings_BF is not None:
                    embeddings_BF = 0 * embeddings_BF
                return super().interact(tokens_BTE, embeddings_BF)

        return Blind(*settings)


class TestThinGraph(suites.IndexContract):
    # test_neighbours_are_the_nearest_directions
    def make(self, space, vectors_ND):
        class ByDistance(foreign.ThinGraph):
            @classmethod
            def empty(cls, width):
                return faiss.IndexHNSWFlat(width, 48)

        return ByDistance.build(space, vectors_ND)


class TestNpzStore(suites.OnlineStoreContract):
    # test_the_first_name_that_has_a_key_answers
    # test_it_answers_as_dicts_do
    def make(self, folder):
        class LastFirst(foreign.NpzStore):
            def get(self, names, keys_N):
                return super().get(names[::-1], keys_N)

        return LastFirst(folder)


class InPlace(foreign.Since):
    def step(self, states_NW, steps_N, today_ND, gap_days_N):
        moved, steps_N = super().step(states_NW, steps_N, today_ND, gap_days_N)
        states_NW[:] = moved
        return states_NW, steps_N


class Crowd(foreign.Since):
    def step(self, states_NW, steps_N, today_ND, gap_days_N):
        today_ND = today_ND - np.mean(today_ND, axis=0, dtype=np.float32)
        return super().step(states_NW, steps_N, today_ND, gap_days_N)


class TestInPlace(suites.PolicyContract):
    # test_states_and_steps_have_their_shapes_and_arguments_are_left_alone
    def make(self):
        return {"kind": f"{__name__}:InPlace", "settings": {"most": 255}}


class TestCrowd(suites.PolicyContract):
    # test_how_the_store_cuts_its_work_is_not_seen[0]
    # test_what_is_served_lies_among_what_was_given_and_a_constant_stays_one[0]
    def make(self):
        return {"kind": f"{__name__}:Crowd", "settings": {"most": 255}}


class TestShort(suites.TestSinceByItsFormula):
    # test_the_store_does_what_the_slow_twin_does[0]
    def make(self):
        return {"kind": "foreign:Since", "settings": {"most": 2}}


class TestJsonLines(suites.TestJsonLines):
    # test_a_day_goes_on_where_the_days_before_it_ended
    def make(self, *settings):
        class Forgetful(foreign.JsonLines):
            def log(self, day, series):
                self.path.unlink(missing_ok=True)
                super().log(day, series)

        return Forgetful(*settings)


class TestThreads(suites.EngineContract):
    # test_results_come_in_the_order_of_the_tasks
    def make(self):
        class AsTheyCome(foreign.Threads):
            def map(self, function, tasks):
                running = [self.pool.submit(function, task) for task in tasks]
                return (done.result() for done in as_completed(running))

        return AsTheyCome(3)
