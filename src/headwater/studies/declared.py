"""The studies of this room."""

from headwater.studies.registry import Study

T2 = Study("T2", "CTR ranker", "judged", "headwater.studies.judged:lifts")
T3 = Study("T3", "CVR ranker", "judged", "headwater.studies.judged:lifts", consumer="cvr")
T8 = Study(
    "T8",
    "retrieval",
    "vectors",
    "headwater.studies.retrieval.making:retrieval_study",
    consumer=None,
)
SLICES = Study("slices", "for whom it helps", "judged", "headwater.studies.judged:slices")
CALIBRATION = Study(
    "calibration",
    "is a probability what it says",
    "judged",
    "headwater.studies.judged:calibration",
)
