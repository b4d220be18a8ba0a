"""How a stranger runs the suites on the classes of `foreign`."""

from __future__ import annotations

import json

import foreign
import numpy as np

from headwater.testing import (
    BlockContract,
    EngineContract,
    HeadContract,
    IndexContract,
    OnlineStoreContract,
    PolicyContract,
    RankerContract,
    TrackerContract,
)


class TestGate(BlockContract):
    def make(self, *sizes):
        return foreign.Gate(*sizes)


class TestPlain(HeadContract):
    def make(self, *settings):
        return foreign.Plain(*settings)


class TestMlp(RankerContract):
    def make(self, *settings):
        return foreign.Mlp(*settings)


class TestThinGraph(IndexContract):
    def make(self, space, vectors_ND):
        return foreign.ThinGraph.build(space, vectors_ND)


class TestNpzStore(OnlineStoreContract):
    def make(self, folder):
        return foreign.NpzStore(folder)


class TestSince(PolicyContract):
    def make(self):
        return {"kind": "foreign:Since", "settings": {"most": 255}}


class TestSinceByItsFormula(TestSince):
    def twin(self, sights):
        return np.mean([vector for _, vector in sights], axis=0)


class TestJsonLines(TrackerContract):
    def make(self, config, name, folder):
        return foreign.JsonLines(config, name, folder)

    def logged(self, name, folder):
        found = {}
        for line in (folder / f"{name}.jsonl").read_text().splitlines():
            series, step, value = json.loads(line)
            found.setdefault(series, []).append((step, value))
        return found


class TestThreads(EngineContract):
    def make(self):
        return foreign.Threads(3)
