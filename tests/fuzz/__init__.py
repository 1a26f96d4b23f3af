"""What is damaged, by area."""

from .explore import EXPLORER
from .kept_files import KEPT
from .read_files import READERS

AREAS = {**KEPT, **READERS, **EXPLORER}
UNDETECTABLE = {
    *("archives, tar", "weights, before torch 1.6"),
    *("pictures, pgm text cut", "pictures, pgm text mask cut"),  # a last number that is shorter
    *("volumes, nrrd ascii .nrrd cut", "volumes, nrrd ascii .nrrd mask cut"),
}
"""Where other values may be read, as nothing in the format tells them; see `outcomes.FREE` too."""
