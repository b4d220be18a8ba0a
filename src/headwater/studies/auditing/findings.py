"""What an audit says: findings, and the error that they make where something leaks."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

from headwater.errors import LeakError


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `figure` and `threshold` are None where nothing was measured, `reason`
    says what was found; what passed because it could not be `checked`, or is trusted, says so too.
    What is `noted` passed, and is to be looked at.
    """

    name: str
    figure: float | None
    threshold: float | None
    passed: bool
    reason: str
    checked: bool = True
    noted: bool = False

    @classmethod
    def looked_up(cls, name: str, passed: bool, reason: str) -> Finding:
        """Of what is written down, so that nothing is measured."""
        return cls(name, None, None, passed, reason)

    @classmethod
    def unchecked(cls, name: str, reason: str) -> Finding:
        """Of what nobody can tell; it passes."""
        return cls(name, None, None, True, reason, checked=False)


@dataclass(frozen=True)
class Audit:
    """What the audit of a consumer's judged days found."""

    consumer: str
    first_day: dt.date
    last_day: dt.date
    findings: tuple[Finding, ...]

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """What did not pass."""
        return tuple(found for found in self.findings if not found.passed)

    @property
    def notes(self) -> tuple[str, ...]:
        """What nobody has checked, and what passed but is to be looked at."""
        unchecked = [found for found in self.findings if not found.checked]
        near = [found for found in self.findings if found.noted and found.checked]
        return (
            *(f"Not checked for leaks: {found.name}: {found.reason}" for found in unchecked),
            *(f"Look at how it comes about: {found.name}: {found.reason}" for found in near),
        )

    def raise_if_leaking(self) -> None:
        """Raises LeakError, which names every leak."""
        if self.leaks:
            listed = "\n  - ".join(f"{found.name}: {found.reason}" for found in self.leaks)
            raise LeakError(
                f"consumer {self.consumer!r}, judged from {self.first_day} to {self.last_day}: what"
                f" it read knew what it was judged on.\n  - {listed}\nMake each of what was known"
                f" before {self.first_day} and run the days again with --replace, or take it out."
                " Where you know better, `evaluation.trusted` passes over features, histories, logs"
                " and entities by these names."
            )

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "consumer": self.consumer,
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "findings": [asdict(found) for found in self.findings],
        }
