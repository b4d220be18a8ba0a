"""What can be looked up: dates that the config declares, and editions that judged rows read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from headwater.config import FactoryConfig
from headwater.store import Lane
from headwater.store.predictions import Predictions
from headwater.studies.auditing.findings import Finding


def declared(config: FactoryConfig, first: dt.date) -> Iterator[Finding]:
    """Every `as_of` of the config: it must lie before the first judged day."""
    dates = {f"entities.{name}.as_of": entity.as_of for name, entity in config.entities.items()}
    for name, history in config.histories.items():
        if history.seed:
            dates[f"histories.{name}.seed.as_of"] = history.seed.as_of
    for name, as_of in dates.items():
        if as_of is None:
            continue
        if as_of < first:
            reason = f"{as_of} is before {first}, the first judged day"
        else:
            reason = (
                f"{as_of} is not before {first}, the first judged day: its table may hold what the"
                " rows are judged on"
            )
        yield Finding.looked_up(name, as_of < first, reason)


def recorded(
    config: FactoryConfig,
    judgements: Predictions,
    lane: Lane,
    consumer: str,
    days: Sequence[dt.date],
) -> Iterator[Finding]:
    """Whether each judged day read an edition that was `lag_days` old, and that the catalog still
    has, made of the same inputs.
    """
    unknown = 0
    for day in days:
        read = judgements.editions_read(consumer, day)
        if read is None:
            unknown += 1
        for edition, inputs in read or []:
            why = _why_wrong(lane, day, config.lifecycle.lag_days, edition, inputs)
            if why:
                reason = f"the rows of {day} read the edition of {edition}: {why}"
                yield Finding.looked_up(f"judged/{consumer}/{day}", False, reason)
    if unknown:
        reason = (
            f"{unknown} of {len(days)} days were judged before the editions they read were"
            " written down"
        )
        yield Finding.unchecked(f"judged/{consumer}", reason)
    if unknown < len(days):
        reason = (
            f"the editions read on {len(days) - unknown} of {len(days)} days were looked up in the"
            " catalog"
        )
        yield Finding.looked_up(f"judged/{consumer}", True, reason)


def _why_wrong(
    lane: Lane, day: dt.date, lag_days: int, edition: dt.date | None, inputs: str | None
) -> str:
    """Why the rows of a day may not have read that edition; empty where they may."""
    if edition is None:
        return ""
    newest = day - dt.timedelta(days=lag_days)
    if edition > newest:
        return f"the newest that they may read is of {newest} (lifecycle.lag_days: {lag_days})"
    entry = lane.get(edition)
    if entry is None:
        return "the catalog has none of that day"
    if entry.fingerprint != inputs:
        return "the catalog's edition of that day was made of other inputs since"
    return ""
