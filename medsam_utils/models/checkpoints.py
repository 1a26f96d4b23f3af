"""Weights files: where they are, that they are the right ones, and reading them without running them."""

from __future__ import annotations

import functools
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pooch

from ..cache import cache_folder
from ..case import BadInputError
from ..download import download

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Checkpoint:
    """A weights file: a path, or an https address with the sha256 that its content must have."""

    location: str | Path
    known_sha256: str | None = None

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content; a registered one is known without the file."""
        return self.known_sha256 or pooch.file_hash(str(self.path()))

    def path(self) -> Path:
        """Local file, downloaded into the cache folder on first use and never used unverified.

        Raises BadInputError if the file is missing, or if a download fails or has another hash.
        """
        if isinstance(self.location, Path):
            if not self.location.is_file():
                raise BadInputError(
                    f"{self.location} is missing: give the path of a weights file as `checkpoint`"
                )
            return self.location
        return download(
            self.location, cache_folder() / "models" / self.location.rsplit("/", 1)[-1], self.known_sha256
        )


def load_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name, on the CPU; nothing in the file is executed.

    Raises BadInputError if the file is truncated, is no checkpoint, or holds anything but tensors.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n", 1)[0]
        raise BadInputError(
            f"{path} cannot be read as weights ({reason}): it may be cut short; download it again"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadInputError(f"{path} is no state dict of tensors: save the model's `state_dict()` alone")
    return state
