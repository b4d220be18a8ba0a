"""The studies of this room."""

from headwater.studies.registry import Study

T2 = Study(
    "T2",
    "CTR ranker",
    "judged",
    "headwater.studies.judged:lift_study",
    rankers="of a task by itself",
    reseeded="T2-upstream-seeds",
)
T3 = Study(
    "T3",
    "CVR ranker",
    "judged",
    "headwater.studies.judged:lift_study",
    consumer="cvr",
    rankers="of a task given another",
)
T8 = Study(
    "T8",
    "retrieval",
    "vectors",
    "headwater.studies.retrieval.table:retrieval_study",
    consumer=None,
)
SLICES = Study("slices", "for whom it helps", "judged", "headwater.studies.judged:slice_study")
CALIBRATION = Study(
    "calibration",
    "is a probability what it says",
    "judged",
    "headwater.studies.judged:calibration_study",
)
