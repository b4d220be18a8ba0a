"""The one error tree.

    HeadwaterError
    ├── ConfigError          factory.yaml, or an argument, is wrong (all problems at once)
    ├── SchemaError          the declared data and the data found do not agree
    ├── LogError             a log or table cannot be read, or too much of it is bad
    ├── LeakError            a read would have seen the future
    ├── ModelError           a model cannot be built, loaded or trained (a NaN loss)
    ├── SnapshotError        vectors that are not a valid snapshot
    │   └── SpaceMismatch    vectors of two spaces met
    ├── StoreError           the warehouse
    │   ├── EditionMissing   no edition of that day
    │   ├── EditionConflict  the day is published and its inputs have changed
    │   └── EntityMissing    no vector for that id
    ├── GateError            an edition was refused before it was published
    ├── SearchError          an index cannot answer
    └── ExperimentError      an A/B test is ill-formed

`headwater.cli` alone catches HeadwaterError: one message, exit code 2. Anything else is a bug and
keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable


class HeadwaterError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(HeadwaterError):
    """A setting is wrong; `problems` holds every fault found, each with its path."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        lines = [message, *(f"  - {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))


class SchemaError(ConfigError):
    """The schema and the data do not agree; `problems` holds every fault found."""


class LogError(HeadwaterError):
    """A log or an entity table cannot be read, or too many of its rows are bad."""


class LeakError(HeadwaterError):
    """A read would have seen what was not known at the time of the row."""


class ModelError(HeadwaterError):
    """A model cannot be built, loaded or trained."""


class SnapshotError(HeadwaterError):
    """Arrays that do not make a valid snapshot."""


class SpaceMismatch(SnapshotError):
    """Vectors of two spaces were about to meet."""


class StoreError(HeadwaterError):
    """The warehouse cannot answer or take a write."""


class EditionMissing(StoreError):
    """There is no edition of that day."""


class EditionConflict(StoreError):
    """The day is already published, and was made from other inputs."""


class EntityMissing(StoreError):
    """The live edition has no vector for that id."""


class GateError(HeadwaterError):
    """An edition was refused before it was published."""


class SearchError(HeadwaterError):
    """An index cannot answer."""


class ExperimentError(HeadwaterError):
    """An A/B test is ill-formed."""
