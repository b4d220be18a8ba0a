"""Tables that one can ask for: the registry's type, and those from judged predictions. No torch.

Every table is made alike. `X_study` answers what is asked, `X_table` puts the table together from
what `_gather` found (judged rows and their lifts): `_row` writes one of its rows, `_answer` the
sentence, `_notes` what one should know of it, `_charts` its pictures. Those that run the days once
more, in `headwater.backtests`, keep to it too.
"""

from headwater.studies.registry import Asked, Study, find_study, listed

__all__ = ["Asked", "Study", "find_study", "listed"]
