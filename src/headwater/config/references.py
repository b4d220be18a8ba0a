"""Which names of a factory.yaml point nowhere, and which settings contradict each other.

All work on a raw, possibly faulty, mapping, and yield problems as 'path: problem'.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headwater.config.models import SIZES, UpstreamConfig
from headwater.config.raw import expect, get, items, keys, strings
from headwater.config.variants import TOWERS, embedding_names, read_by

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def broken_references(raw: Mapping[str, Any]) -> Iterator[str]:
    """Every problem of the whole mapping, section by section."""
    yield from _unusable_names(raw)
    yield from _broken_logs(raw)
    yield from _broken_entities(raw)
    yield from _broken_histories(raw)
    yield from _broken_tasks(raw)
    yield from _broken_upstreams(raw)
    yield from _broken_consumers(raw)
    yield from _broken_group(raw)
    yield from _broken_trust(raw)
    yield from _broken_retrieval(raw)
    yield from _broken_lifecycle(raw)
    yield from _broken_lanes(raw)


def _unusable_names(raw: Mapping[str, Any]) -> Iterator[str]:
    for part in ("logs", "entities", "histories", "tasks", "upstreams", "downstream"):
        for name, _ in items(raw, part):
            if not NAME.fullmatch(name) or (part == "upstreams" and name == "downstream"):
                yield (
                    f"{part}.{name}: not a usable name; begin with a letter, then letters, digits"
                    " and _ (and `downstream` is taken)"
                )


# ---- data ----------------------------------------------------------------------------------------


def _broken_logs(raw: Mapping[str, Any]) -> Iterator[str]:
    entities = keys(get(raw, "entities"))
    for name, log in items(raw, "logs"):
        for entity in keys(get(log, "entities")):
            yield from expect(entity, entities, f"logs.{name}.entities.{entity}", "entity")


def _broken_entities(raw: Mapping[str, Any]) -> Iterator[str]:
    for name, entity in items(raw, "entities"):
        if get(entity, "table") and not get(entity, "key"):
            yield (
                f"entities.{name}.key: a table needs a key column; name the column that holds the"
                f" {name} id"
            )
        if get(entity, "features") and not get(entity, "table"):
            yield f"entities.{name}.table: features are declared but no table to read them from"
        if get(entity, "exists_from") and not get(entity, "table"):
            yield (
                f"entities.{name}.exists_from: there is no table to read the column"
                f" {get(entity, 'exists_from')!r} from; name it (entities.{name}.table)"
            )


def _broken_histories(raw: Mapping[str, Any]) -> Iterator[str]:
    logs, entities = keys(get(raw, "logs")), keys(get(raw, "entities"))
    owned: set[tuple[Any, Any]] = set()
    for name, history in items(raw, "histories"):
        owner, log = get(history, "entity") or name, get(history, "log")
        yield from expect(owner, entities, f"histories.{name}.entity", "entity")
        if (owner, log) in owned:
            yield (
                f"histories.{name}: a second history of {owner!r} in the log {log!r}; one is read"
            )
        owned.add((owner, log))
        yield from _strangers_to_its_log(raw, name, owner, history)
        yield from _labels_too_early(raw, name, history)
        yield from _unpaired(raw, name, history)
        yield from expect(get(history, "of"), entities, f"histories.{name}.of", "entity")
        yield from expect(log, logs, f"histories.{name}.log", "log")
        actions = strings(get(history, "actions"))
        for action in keys(get(history, "seed", "actions")):
            yield from expect(action, actions, f"histories.{name}.seed.actions", "action")


def _strangers_to_its_log(
    raw: Mapping[str, Any], name: str, owner: Any, history: Any
) -> Iterator[str]:
    log = get(history, "log")
    there = keys(get(raw, "logs", log, "entities"))
    for field, entity in (("entity", owner), ("of", get(history, "of"))):
        declared = log in keys(get(raw, "logs")) and entity in keys(get(raw, "entities"))
        if declared and entity not in there:
            yield (
                f"histories.{name}.{field}: the log {log!r} has no entity {entity!r}; it has"
                f" {', '.join(there) or 'none'}"
            )


def _labels_too_early(raw: Mapping[str, Any], name: str, history: Any) -> Iterator[str]:
    late = {
        column: task_name
        for task_name, task in items(raw, "tasks")
        if get(task, "log") == get(history, "log") and get(task, "matures_days")
        for column in label_columns(get(task, "label"))
    }
    for column in (*strings(get(history, "actions")), get(history, "where")):
        if column in late:
            yield (
                f"histories.{name}: {column!r} is the label of the task {late[column]!r}, which"
                " matures later; a history that holds it would know it too early"
            )


def _unpaired(raw: Mapping[str, Any], name: str, history: Any) -> Iterator[str]:
    of = get(history, "of")
    features = get(raw, "entities", of, "features")
    alike = [
        key
        for key in keys(features)
        if _kind_of(features, key) in ("categorical", "multi_categorical")
    ]
    for feature in strings(get(history, "pairs")):
        noun = f"categorical feature of {of!r}"
        yield from expect(feature, ("id", *alike), f"histories.{name}.pairs", noun)


def _kind_of(features: Any, name: str) -> Any:
    feature = get(features, name)
    return feature if isinstance(feature, str) else get(feature, "kind")


# ---- tasks ---------------------------------------------------------------------------------------


def _broken_tasks(raw: Mapping[str, Any]) -> Iterator[str]:
    logs, tasks = keys(get(raw, "logs")), keys(get(raw, "tasks"))
    for name, task in items(raw, "tasks"):
        yield from expect(get(task, "log"), logs, f"tasks.{name}.log", "log")
        yield from expect(get(task, "given"), tasks, f"tasks.{name}.given", "task")
        label = get(task, "label")
        if isinstance(label, Mapping):
            yield from expect(label.get("log"), logs, f"tasks.{name}.label.log", "log")
        yield from _broken_given(raw, name, task)


def _broken_given(raw: Mapping[str, Any], name: str, task: Any) -> Iterator[str]:
    given = get(raw, "tasks", get(task, "given"))
    if not isinstance(given, Mapping):
        return
    if given.get("log") != get(task, "log"):
        yield f"tasks.{name}.given: {get(task, 'given')!r} is a task of another log"
    elif (get(given, "matures_days") or 0) > (get(task, "matures_days") or 0):
        yield (
            f"tasks.{name}.matures_days: {get(task, 'given')!r}, which it is given, matures later"
        )
    elif get(given, "given"):
        yield (
            f"tasks.{name}.given: {get(task, 'given')!r} is itself given another task;"
            " chains are not read"
        )


def known_with_the_row(raw: Mapping[str, Any], task: Any) -> bool:
    """Whether a task's labels are columns of its log that are known on the day.

    So are, then, those of the task that it is given.
    """
    spec = get(raw, "tasks", task)
    chain = [spec, get(raw, "tasks", get(spec, "given"))]
    return not any(
        get(one, "matures_days") or isinstance(get(one, "label"), Mapping) for one in chain
    )


def label_columns(label: Any) -> tuple[str, ...]:
    """The columns of its log that a label is read from; none where it arrives in another log."""
    return (label,) if isinstance(label, str) else strings(label)


# ---- models --------------------------------------------------------------------------------------


def _broken_upstreams(raw: Mapping[str, Any]) -> Iterator[str]:
    logs, tasks = keys(get(raw, "logs")), keys(get(raw, "tasks"))
    for name, upstream in items(raw, "upstreams"):
        listed = strings(get(upstream, "tasks"))
        for task in listed:
            yield from expect(task, tasks, f"upstreams.{name}.tasks", "task")
        chosen = {get(raw, "tasks", task, "log") for task in listed}
        for log in sorted(chosen & set(logs)):
            missing = _towers_without(raw, log)
            if missing:
                yield f"upstreams.{name}.tasks: the log {log!r} has no entity {missing}"
        yield from _broken_whole_space(raw, name, upstream)
        yield from _broken_content_vectors(raw, name, upstream)
        yield from _broken_heads(name, upstream)


def _towers_without(raw: Mapping[str, Any], log: Any) -> str:
    """The entities of towers that a log lacks, as text; empty where it lacks none."""
    there = keys(get(raw, "logs", log, "entities"))
    return " and no ".join(role for role in TOWERS if role not in there)


def _broken_whole_space(raw: Mapping[str, Any], name: str, upstream: Any) -> Iterator[str]:
    listed = strings(get(upstream, "tasks"))
    for task in strings(get(upstream, "whole_space")):
        given = get(raw, "tasks", task, "given")
        if task not in listed:
            yield (
                f"upstreams.{name}.whole_space: {task!r} is no task of this upstream; its tasks:"
                f" {', '.join(listed)}"
            )
        elif given is None:
            yield (
                f"upstreams.{name}.whole_space: {task!r} is given no other task, so it is defined"
                " on all rows already"
            )
        elif given not in listed:
            yield (
                f"upstreams.{name}.whole_space: {task!r} is given {given!r}, which has to be a task"
                " of this upstream too"
            )


def _broken_content_vectors(raw: Mapping[str, Any], name: str, upstream: Any) -> Iterator[str]:
    for entity in strings(get(upstream, "content_vectors")):
        declared = get(raw, "entities", entity)
        if not get(declared, "table"):
            yield (
                f"upstreams.{name}.content_vectors: the entity {entity!r} has no table, so nothing"
                " is known of one never seen"
            )
        elif not get(declared, "features"):
            yield (
                f"upstreams.{name}.content_vectors: the entity {entity!r} has a table but no"
                " features, so a vector would be of nothing; declare some"
            )


def _broken_heads(name: str, upstream: Any) -> Iterator[str]:
    width, heads = get(upstream, "token_width"), get(upstream, "dhen", "heads")
    if not width:
        size = get(upstream, "size") or UpstreamConfig.model_fields["size"].default
        width = SIZES.get(str(size), {}).get("token_width")
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
        yield f"upstreams.{name}.dhen.heads: token_width {width} should be a multiple of {heads}"


def _broken_consumers(raw: Mapping[str, Any]) -> Iterator[str]:
    logs, tasks = keys(get(raw, "logs")), keys(get(raw, "tasks"))
    embeddings = embedding_names(raw)
    for name, consumer in items(raw, "downstream"):
        yield from expect(get(consumer, "task"), tasks, f"downstream.{name}.task", "task")
        log = get(raw, "tasks", get(consumer, "task"), "log")
        missing = _towers_without(raw, log) if log in logs else ""
        if missing:
            yield f"downstream.{name}.task: its log {log!r} has no entity {missing}"
        variants = get(consumer, "variants")
        yield from _broken_variants(f"downstream.{name}.variants", variants, embeddings)
        yield from _broken_beside(raw, name, consumer, tasks)
        if isinstance(variants, list | tuple) and "none" not in variants:
            yield (
                f"downstream.{name}.variants: the variant 'none' is what every lift is measured"
                " against; add it"
            )


def _broken_variants(path: str, variants: Any, embeddings: Sequence[str]) -> Iterator[str]:
    same: dict[tuple[frozenset[str], frozenset[str]], str] = {}
    for variant in strings(variants):
        faults, what = read_by(variant, embeddings)
        yield from (f"{path}: variant {variant!r}: {fault}" for fault in faults)
        if not faults and same.setdefault(what, variant) != variant:
            yield f"{path}: variant {variant!r} is the same as {same[what]!r}"


def _broken_beside(
    raw: Mapping[str, Any], name: str, consumer: Any, tasks: tuple[str, ...]
) -> Iterator[str]:
    own = get(raw, "tasks", get(consumer, "task"))
    for beside in keys(get(consumer, "also")):
        path = f"downstream.{name}.also.{beside}"
        yield from expect(beside, tasks, path, "task")
        other = get(raw, "tasks", beside)
        if not (isinstance(own, Mapping) and isinstance(other, Mapping)):
            continue
        if other == own:
            yield f"{path}: is the consumer's own task"
        elif other.get("log") != own.get("log"):
            yield f"{path}: is a task of another log"
        elif (other.get("matures_days") or 0) > (own.get("matures_days") or 0):
            yield (
                f"{path}: matures after {other.get('matures_days')} days, later than the consumer's"
                " own task, with which it is learnt"
            )


# ---- running -------------------------------------------------------------------------------------


def _broken_group(raw: Mapping[str, Any]) -> Iterator[str]:
    group, logs = get(raw, "evaluation", "group"), keys(get(raw, "logs"))
    for log in keys(group):
        yield from expect(log, logs, "evaluation.group", "log")
    named = [(f"evaluation.group.{log}", of) for log, of in items(get(raw, "evaluation"), "group")]
    for path, of in named or [("evaluation.group", group)]:
        if of == "":
            yield f"{path}: is empty; name a column, or one of auto, user_time, user_day"


def _broken_trust(raw: Mapping[str, Any]) -> Iterator[str]:
    for name in strings(get(raw, "evaluation", "trusted")):
        yield from expect(name, _auditable(raw), "evaluation.trusted", "feature, history or log")


def _auditable(raw: Mapping[str, Any]) -> Iterator[str]:
    """What the leak audit gives figures of, by the names that it gives them."""
    for name, entity in items(raw, "entities"):
        yield from (f"{name}.{feature}" for feature in keys(get(entity, "features")))
        yield f"entities.{name}"
    for name, history in items(raw, "histories"):
        yield from (f"histories.{name}", f"logs.{get(history, 'log')}")
        yield f"histories.{name}.counters"
        yield from (f"histories.{name}.pairs.{one}" for one in strings(get(history, "pairs")))
        if get(history, "seed"):
            yield f"histories.{name}.seed"
    for name, log in items(raw, "logs"):
        yield from (f"logs.{name}.{feature}" for feature in keys(get(log, "features")))


def _broken_retrieval(raw: Mapping[str, Any]) -> Iterator[str]:
    upstreams, tasks = keys(get(raw, "upstreams")), keys(get(raw, "tasks"))
    upstream, task = get(raw, "retrieval", "upstream"), get(raw, "retrieval", "task")
    yield from expect(upstream, upstreams, "retrieval.upstream", "upstream")
    yield from expect(task, tasks, "retrieval.task", "task")
    if task in tasks and not known_with_the_row(raw, task):
        yield (
            f"retrieval.task: the labels of {task!r} arrive late or in another log;"
            " name a task whose label is a column of its rows"
        )


def _broken_lifecycle(raw: Mapping[str, Any]) -> Iterator[str]:
    kept, lag = get(raw, "lifecycle", "keep_days"), get(raw, "lifecycle", "lag_days") or 1
    delays = [get(task, "matures_days") for _, task in items(raw, "tasks")]
    matures = max((days for days in delays if isinstance(days, int)), default=0)
    if isinstance(kept, int) and isinstance(lag, int) and kept < matures + lag + 2:
        yield (
            f"lifecycle.keep_days: {kept} is too short; rows whose labels mature after {matures}"
            f" days read what was served {lag} days before them: at least {matures + lag + 2}"
        )


def _broken_lanes(raw: Mapping[str, Any]) -> Iterator[str]:
    upstreams = keys(get(raw, "upstreams"))
    for name, lane in items(raw, "lanes"):
        if not NAME.fullmatch(name):
            yield (
                f"lanes.{name}: not a usable name; begin with a letter, then letters, digits and _"
            )
        for upstream in keys(get(lane, "upstreams")):
            yield from expect(upstream, upstreams, f"lanes.{name}.upstreams", "upstream")
        if name == "main" and get(lane, "upstreams"):
            yield "lanes.main: is the factory as declared; only `closed` may be set of it"
