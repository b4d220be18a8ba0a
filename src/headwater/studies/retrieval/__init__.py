"""Retrieval judged day by day: T8, the factory's vectors beside popularity and matrix
factorisation. No torch.
"""

from headwater.studies.retrieval.table import retrieval_table

__all__ = ["retrieval_table"]
