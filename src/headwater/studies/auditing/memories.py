"""Whether a history holds the very events that it is judged on: how well a row's own item, standing
in its history, tells the row's label. Shapes: N rows, L events of a history.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from headwater.evaluation.audit import auc_above
from headwater.events import Histories
from headwater.schema import History
from headwater.studies.auditing.findings import Finding

# ROC-AUC that "the row's own item stands in the history" may have: in its seed, as its newest
# event, and anywhere. Measured in docs/leaks.md.
SEED_AUC = 0.6
REPEAT_AUC = 0.55
HISTORY_AUC = 0.7


@dataclass(frozen=True)
class Memory:
    """What a row's history may remember of it, in the finding `name`: its own item stands there
    (`action`: with that action).
    """

    name: str
    action: str
    threshold: float

    @property
    def of_log(self) -> bool:
        """Of the newest event alone, which shows rows that the log repeats."""
        return self.name.startswith("logs.")


class Memories:
    """The scores that the histories of a log give its judged rows, day by day, beside the labels.

    `owners` are the histories by name, each with the entity whose it is.
    """

    def __init__(self, log: str, owners: Mapping[str, str], specs: Mapping[str, History]) -> None:
        self._log = log
        self._owners = owners
        self._specs = specs
        self._seen: dict[Memory, dict[dt.date, tuple[np.ndarray, np.ndarray]]] = {}

    def add(
        self,
        day: dt.date,
        histories: Mapping[str, Histories],
        keys: Mapping[str, np.ndarray],
        labels_N: np.ndarray,
    ) -> None:
        """A day's rows: the histories of their entities, and the entities' keys."""
        for name, owner in self._owners.items():
            spec = self._specs[owner]
            scores = _scores(self._log, name, histories[owner], keys[spec.of], spec)
            for memory, scores_N in scores:
                self._seen.setdefault(memory, {})[day] = (labels_N, scores_N)

    def findings(self) -> Iterator[Finding]:
        """One for each history, its seed, and the log: its strongest score, on its strongest day or
        over all.
        """
        worst: dict[str, tuple[float, Finding]] = {}
        for memory, by_day in self._seen.items():
            whole = tuple(np.concatenate(parts) for parts in zip(*by_day.values(), strict=True))
            spans = {"all judged days": whole, **{str(day): pair for day, pair in by_day.items()}}
            for when, (labels_N, scores_N) in spans.items():
                auc, lowest = auc_above(labels_N, scores_N)
                excess = lowest - memory.threshold
                if memory.name not in worst or excess > worst[memory.name][0]:
                    worst[memory.name] = (excess, _about(memory, when, auc, lowest))
        yield from (found for _, found in worst.values())


def _scores(
    log: str, name: str, history: Histories, own_N: np.ndarray, spec: History
) -> Iterator[tuple[Memory, np.ndarray]]:
    """Scores that a history gives its own rows, int8 [N]: 1 where the row's item stands there (with
    an action), and, of the newest event, -1 where it stands there without.
    """
    same_NL = history.keys_NL == own_N[:, None]
    seed_NL = np.isnan(history.gaps_s_NL)
    actions = {
        f" with {action}": (history.actions_NL >> bit) & 1 == 1
        for bit, action in enumerate(spec.actions)
    }
    within = {(f"histories.{name}", HISTORY_AUC): same_NL}
    if spec.seed:
        within = {(f"histories.{name}.seed", SEED_AUC): same_NL & seed_NL, **within}
    for (about, threshold), there_NL in within.items():
        yield Memory(about, "", threshold), there_NL.any(axis=1).astype(np.int8)
        for action, acted_NL in actions.items():
            scores_N = (there_NL & acted_NL).any(axis=1).astype(np.int8)
            yield Memory(about, action, threshold), scores_N
    newest_N = same_NL[:, 0] & ~seed_NL[:, 0]
    yield Memory(f"logs.{log}", "", REPEAT_AUC), newest_N.astype(np.int8)
    for action, acted_NL in actions.items():
        scores_N = np.where(newest_N, np.where(acted_NL[:, 0], 1, -1), 0).astype(np.int8)
        yield Memory(f"logs.{log}", action, REPEAT_AUC), scores_N


def _about(memory: Memory, when: str, auc: float, lowest: float) -> Finding:
    place = "the row's own item stands there"
    leak = ": it holds judged events"
    if memory.of_log:
        place = "the newest event of the row's history is its own item"
        leak = ": its rows repeat earlier ones"
    passed = lowest <= memory.threshold
    reason = (
        f"whether {place}{memory.action} tells its label with ROC-AUC {auc:.3f} (surely"
        f" {lowest:.3f}; {when}); allowed {memory.threshold}"
    )
    if not passed:
        reason += leak
    return Finding(memory.name, round(auc, 4), memory.threshold, passed, reason)
