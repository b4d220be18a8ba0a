"""The golden factory comes out as it was recorded: what moves behind the seams changes no vector,
no score and no table.

On the machine it was recorded on, to the byte. Elsewhere another processor adds in another order,
so there all that is not a float must be equal (keys, ids, days seen, steps, counts) and the size of
the vectors nearly so. A change that means to change it records it anew (`python -m golden.scenario
record golden/recorded.json` in `tests/`) and says in its commit what differs.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from golden import adapter
from golden.scenario import differences, flat, run

RECORDED = Path(__file__).parent.parent / "golden" / "recorded.json"
WITHOUT_FLOATS = (
    "/keys",
    "/seen",
    "/steps",
    "/ids",
    "/rows",
    "/space",
    "/day",
    "/withdrawn",
    "/live",
)


def test_the_golden_factory_is_what_was_recorded(tmp_path) -> None:
    recorded = json.loads(RECORDED.read_text())
    found = json.loads(json.dumps(run(tmp_path)))
    if adapter.machine() == recorded["machine"]:
        assert differences(recorded, found) == []
        return
    was, now = flat(recorded), flat(found)
    assert was.keys() == now.keys()
    assert not [name for name in was if name.endswith(WITHOUT_FLOATS) and was[name] != now[name]]
    for name in (name for name in was if name.endswith("/mean_size")):
        assert now[name] == pytest.approx(was[name], rel=0.02), name
