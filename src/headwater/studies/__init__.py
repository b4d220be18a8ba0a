"""Tables that one can ask for: the registry's type, and those from judged predictions. No torch."""

from headwater.studies.registry import Asked, Study, find_study, listed

__all__ = ["Asked", "Study", "find_study", "listed"]
