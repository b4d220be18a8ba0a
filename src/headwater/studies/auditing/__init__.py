"""The leak audit: were features, histories and editions made before the rows that they were judged
on? docs/leaks.md says what it can tell.
"""

from headwater.studies.auditing.findings import Audit, Finding
from headwater.studies.auditing.judged_days import audit
from headwater.studies.auditing.measures import measured
from headwater.studies.auditing.records import declared, recorded

__all__ = ["Audit", "Finding", "audit", "declared", "measured", "recorded"]
