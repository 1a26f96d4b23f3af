"""How a chapter computes: one parameter of every notebook, for device, workers and stored rows."""

from __future__ import annotations

import dataclasses
import shlex
from dataclasses import dataclass

from ..case import BadInputError


@dataclass(frozen=True)
class Compute:
    """What a run computes on, and what it keeps; none of it changes a number but for rounding.

    >>> Compute.parse("device=cuda workers=4").device
    'cuda'
    """

    device: str = ""
    """cpu, cuda, cuda:1, mps; empty: the best there is."""
    dtype: str = "float32"
    """What images are encoded in: float32, bfloat16 or float16."""
    workers: str = "auto"
    """Processes; auto: what the machine has room for; 0: this process alone."""
    scheduler: str = ""
    """Address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786."""
    embeddings: str = ""
    """Folder in which SAM keeps encoded images for later runs; empty: it keeps none."""
    store: str = "results"
    """Folder of stored rows: what is there is not computed again; empty: nothing is stored."""
    shard: str = ""
    """A part of the cases, such as 3/8, counted from 0 to 7; the parts meet in one store."""

    @classmethod
    def parse(cls, text: str) -> Compute:
        """Return the options of a text such as "device=cuda workers=4 store='my results'".

        Of an option that is given twice the last one counts. Raises BadInputError for an unknown
        option; it lists the known ones.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        values = {}
        for part in shlex.split(str(text)):
            name, equals, value = part.partition("=")
            if name not in known or not equals:
                raise BadInputError(
                    f"compute {text!r}: {part!r} is no option: write name=value with a name of "
                    f"{', '.join(known)}"
                )
            values[name] = value
        return cls(**values)
