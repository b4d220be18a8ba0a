"""What an edition must satisfy before it is published: figures, thresholds and reasons."""

from headwater.embeddings.gates.checks import check_evidence
from headwater.embeddings.gates.classifiers import auc_error, domain_auc, probe_auc
from headwater.embeddings.gates.cohorts import CohortCosine, cosine_by_cohort, cosine_to
from headwater.embeddings.gates.evidence import Evidence, GateResult, Probe
from headwater.embeddings.gates.figures import duplicate_share, effective_rank, neighbour_overlap

__all__ = [
    "CohortCosine",
    "Evidence",
    "GateResult",
    "Probe",
    "auc_error",
    "check_evidence",
    "cosine_by_cohort",
    "cosine_to",
    "domain_auc",
    "duplicate_share",
    "effective_rank",
    "neighbour_overlap",
    "probe_auc",
]
