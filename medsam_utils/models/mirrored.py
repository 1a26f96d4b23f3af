"""Weights that lie at several addresses, because the first may be dead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..case import BadInputError
from .checkpoints import Checkpoint


@dataclass(frozen=True)
class MirroredCheckpoint(Checkpoint):
    """A weights file that is asked for at one address after the other.

    location: the authors' address. mirrors: others, where a file of the same name lies. Where no
    hash is published, the first address that answers decides: its hash is recorded, and what
    another address gives later must be the same. That it is the authors' file cannot be proved.
    """

    mirrors: tuple[str, ...] = ()

    def path(self) -> Path:
        """Local file, see `Checkpoint.path`; raises BadInputError with what each address said."""
        said = []
        for address in (self.location, *self.mirrors):
            try:
                return Checkpoint(address, self.known_sha256, self.size).path()
            except BadInputError as error:
                said.append(str(error))
        raise BadInputError("; then ".join(said))
