"""What to try: configurations, runs and their ids, protocol, axes, and the catalogue of named spaces."""

from search_spaces.axes import expand
from search_spaces.catalogue import space_names, space_text
from search_spaces.configuration import NO_SCHEDULER, Configuration
from search_spaces.run import TRAINING_VERSION, Protocol, Run

__all__ = [
    "NO_SCHEDULER",
    "TRAINING_VERSION",
    "Configuration",
    "Protocol",
    "Run",
    "expand",
    "space_names",
    "space_text",
]
