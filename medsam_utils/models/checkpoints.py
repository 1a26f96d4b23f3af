"""Weights files: where they are, that they are the right ones, and reading them without running
them."""

from __future__ import annotations

import functools
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pooch

from ..cache import cache_folder
from ..case import BadInputError
from ..download import WrongHashError, download

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Checkpoint:
    """A weights file: a path, or an https address with the sha256 that its content must have.

    known_sha256: as published; where nobody publishes one, that of the first download is recorded
    beside the file and holds from then on. size: bytes, where it is published.
    """

    location: str | Path
    known_sha256: str | None = None
    size: int | None = None

    @property
    def expected_sha256(self) -> str | None:
        """Hash that a download must have: the published one, else the recorded one, None before the
        first."""
        if self.known_sha256 or isinstance(self.location, Path) or not self._record.is_file():
            return self.known_sha256
        return self._record.read_text().split()[0]

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content; that of a registered or recorded file is known without the file."""
        return self.expected_sha256 or pooch.file_hash(str(self.path()))

    def path(self) -> Path:
        """Local file, downloaded into the cache folder on first use and never used unverified.

        Raises BadInputError if the file is missing, if a download fails, has another hash or is no
        weights file: it is not kept then.
        """
        if isinstance(self.location, Path):
            if not self.location.is_file():
                raise BadInputError(
                    f"{self.location} is missing: give the path of a weights file as `checkpoint`"
                )
            return self.location
        expected = self.expected_sha256
        try:
            download(self.location, self._cached, expected)
        except WrongHashError as error:
            if self.known_sha256:
                raise
            raise BadInputError(
                f"{error}. Nobody publishes a hash of this file: {self._record} holds that of its first "
                "download. If the authors changed the file for a reason, delete that record"
            ) from error
        if expected is None:
            try:
                load_state_dict(self._cached, device="meta")
            except BadInputError:
                self._cached.unlink(missing_ok=True)  # another process may have been here
                raise
            temporary = self._record.with_suffix(".new")
            # As `sha256sum --check` reads it.
            temporary.write_text(f"{pooch.file_hash(str(self._cached))}  {self._cached.name}\n")
            temporary.replace(self._record)
        return self._cached

    @property
    def _cached(self) -> Path:
        """Where a download is kept."""
        return cache_folder() / "models" / str(self.location).rsplit("/", 1)[-1]

    @property
    def _record(self) -> Path:
        """Where the hash of a first download is kept."""
        return self._cached.with_name(self._cached.name + ".sha256")


def load_state_dict(path: Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name; nothing in the file is executed.

    What training scripts put round them (`model` or `state_dict`, the prefix `module.`) is taken
    off. device: "meta" reads names and shapes alone. Raises BadInputError if the file is truncated,
    is no checkpoint, or holds what could run code.
    """
    import torch

    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise BadInputError(f"{path} cannot be read as weights: {_reason(path, error)}") from error
    for wrapping in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapping), dict):
            state = state[wrapping]
    is_tensors = isinstance(state, dict) and all(
        isinstance(value, torch.Tensor) for value in state.values()
    )
    if not is_tensors or not state:
        raise BadInputError(
            f"{path} is no state dict of tensors: save the model's `state_dict()` alone"
        )
    torch.nn.modules.utils.consume_prefix_in_state_dict_if_present(state, "module.")
    return state


def _reason(path: Path, error: Exception) -> str:
    """Why torch.load refuses a file, and what to do; torch's own text advises to execute it."""
    if code := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds {code[1]}, and to read that could run code; save the model's `state_dict()` alone"
    if "TorchScript" in str(error):
        return "it is a TorchScript archive; save the model's `state_dict()` alone"
    with path.open("rb") as file:
        start = file.read(100).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is a web page, which some servers send in place of a file; download it with a browser"
    if isinstance(error, pickle.UnpicklingError):
        return "it is not what torch.save writes; give another file"
    return "it is cut short or damaged; download or save it again"
