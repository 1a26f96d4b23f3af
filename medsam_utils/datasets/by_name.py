"""Which image of an own folder belongs to which mask: names that are equal, or nearly so."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..case import Exclusion
from .formats import find_format, stem
from .pairs import Pair, natural, walk

MASK_WORD = (
    r"(?:masks?|segm?|segs|segmentations?|labels?|labelmap|lbl|gt|ground[ _-]?truth|annotations?|"
    r"manual|roi)"
)
_MODALITY = r"(?:ct|mri?|pet|us|t1|t2|flair|scan|imag(?:e|ing)|img|volume|orig)"
"""What an image is called that has its name from the folder that it alone is in."""

IMAGE_WORD = r"(?:images?|img|000\d)"
"""0000 to 0009: the channel that nnU-Net writes behind a name."""

_NUMBER = r"[ _-]+\(?\d+\)?|[ _-]*\(\d+\)"

HOW = {
    "equal": "equal names",
    "word": "names that are equal but for a word such as _mask or _0000",
    "several": "several masks for one image, numbered: united",
    "folder": "a folder of masks for each image",
}
"""The ways in which a mask's name may fit, the nearest first."""


@dataclass(frozen=True)
class ByName:
    """How the files of an own folder are paired, see `Pairs`, whose place this takes.

    kind: of the files that count, "flat", "volume" or "series", see `formats`. images, masks: the
    names of the two folders. A mask belongs to the image whose name, without suffix, it has; else
    to the one whose name it has without a word such as `_mask`, without a number behind it, or as
    the folder that it is in. Capitals and the Unicode form of a letter make no difference where
    only one image fits. What fits several images, or an image that two different masks fit, is an
    exclusion that names them.
    """

    kind: str
    images: str = "images"
    masks: str = "masks"
    channels: tuple[tuple[str, str], ...] = ()
    raters: tuple[str, ...] = ()

    def find(
        self,
        root: Path,
        within: tuple[str, ...] = (),
        channels: tuple[str, ...] = (),
        raters: tuple[str, ...] = (),
    ) -> tuple[list[Pair], list[Exclusion]]:
        """Return the pairs and the files without a partner, in natural order of their keys."""
        images, masks = (self._files(root, folder) for folder in (self.images, self.masks))
        index = _Index(images)
        fitting: dict[str, list[tuple[str, str, str]]] = {}  # image key -> (how, base, mask's path)
        exclusions = []
        for key in sorted(masks, key=natural):
            for path in masks[key]:
                how, base, found = index.search(key)
                if not found and set(images) == {""} and len(masks) == 1:
                    how, base, found = "equal", "", [""]  # The one series and the one mask.
                if len(found) > 1:
                    files = [file for one in found for file in images[one]]
                    exclusions.append(_left_out(key, path, "several images fit it", files))
                elif found:
                    fitting.setdefault(found[0], []).append((how, base, path))
                else:
                    exclusions.append(Exclusion(key, "pairs", path, "mask without image"))
        pairs: list[Pair] = []
        names: set[str] = set()
        taken = {path for exclusion in exclusions for path in exclusion.files}
        for key in sorted(images, key=natural):
            partners, files = fitting.get(key, []), images[key]
            paths = [path for *_, path in partners]
            if not partners:
                if not taken.issuperset(files):
                    fact = "image without mask"
                    exclusions.append(Exclusion(key, "pairs", files[0], fact, tuple(files)))
            elif len(files) > 1 and self.kind != "series":
                fact = f"{len(files)} images of one name, which of them the mask belongs to"
                exclusions.append(_left_out(key, files[0], f"{fact} is unknown", files, paths))
            elif not _one_kind(partners):
                fact = "several masks fit it, and not as parts of one"
                exclusions.append(_left_out(key, files[0], fact, paths))
            else:
                name = partners[0][1] if partners[0][0] == "word" else key
                name = name or unicodedata.normalize("NFC", stem(PurePosixPath(paths[0]).name))
                name = key if name in names else name
                names.add(name)
                folder = key.partition("/")[0] if "/" in key else name
                how = max((how for how, *_ in partners), key=list(HOW).index)
                both = [tuple(root / path for path in part) for part in (files, paths)]
                pairs.append(Pair(name, folder, both[0], both[1], how))
        return pairs, sorted(exclusions, key=lambda e: natural(e.case_id))

    def _files(self, root: Path, folder: str) -> dict[str, list[str]]:
        """Return the files of the kind below a folder by their names without suffix.

        Those of a DICOM series have the name of the folder that they are in.
        """
        is_series = self.kind == "series"
        if is_series:
            kinds = {"dicom"} if folder == self.images else {"volume", "dicom"}
        else:
            kinds = {self.kind, "dicom"} if self.kind == "flat" else {self.kind}
        files: dict[str, list[str]] = {}
        for path in walk(root, (folder,)):
            if find_format(root / path) not in kinds:
                continue
            below = path.removeprefix(f"{folder}/")
            if is_series and folder == self.images:
                below = below.rpartition("/")[0]
            key = unicodedata.normalize("NFC", stem(below))
            files.setdefault(key, []).append(path)
        return files


def _left_out(
    key: str, path: str, fact: str, candidates: list[str], others: list[str] | None = None
) -> Exclusion:
    """Return the exclusion of a file whose partner is not clear; it shows what fits."""
    names = ", ".join(candidates[:6]) + (" ..." if len(candidates) > 6 else "")
    files = tuple(dict.fromkeys([path, *candidates, *(others or [])]))
    return Exclusion(key, "pairs", path, f"{fact}: {names}: rename them", files)


def _one_kind(partners: list[tuple[str, str, str]]) -> bool:
    """Tell whether several masks of one image are parts of one: numbered, or in one folder."""
    if len(partners) == 1:
        return True
    ways = {how for how, *_ in partners}
    if "folder" in ways:
        return (
            ways == {"folder"} and len({PurePosixPath(path).parent for *_, path in partners}) == 1
        )
    # Of the masks without a number there may be one, with the word that the others have.
    inner = rf"(?:{_NUMBER})(?=(?:[ _.-]+{MASK_WORD})?$)"
    plain = {re.sub(inner, "", stem(path), flags=re.I) for *_, path in partners}
    numbered = [path for how, _, path in partners if how == "several"]
    return len(plain) == 1 and len(numbered) >= len(partners) - 1


class _Index:
    """The keys of images, to be searched for what a mask's key fits."""

    def __init__(self, keys: dict[str, list[str]]) -> None:
        self._keys = set(keys)
        self._exact: dict[str, list[str]] = {}
        self._folded: dict[str, list[str]] = {}
        self._numbered: set[str] = set()
        for key in keys:
            for form in dict.fromkeys((key, _without_word(key, IMAGE_WORD))):
                self._exact.setdefault(form, []).append(key)
                self._folded.setdefault(form.casefold(), []).append(key)
            self._numbered.add(_without_number(key).casefold())
            folder, _, name = key.rpartition("/")
            if folder and re.fullmatch(_MODALITY, name, re.I):
                self._exact.setdefault(folder, []).append(key)

    def search(self, key: str) -> tuple[str, str, list[str]]:
        """Return how a mask's key fits, in which form, and the keys of the images that it fits."""
        if key in self._keys:
            return "equal", key, [key]
        forms = list(_forms(key))
        for how, form in forms:
            # An image with a number of its own: the mask of another number is not a part of it.
            if how == "several" and form.casefold() in self._numbered and self._has_numbers(form):
                continue
            if found := self._exact.get(form):
                return how if form in self._keys else _at_least_word(how), form, found
        for how, form in forms:
            if how == "several" and self._has_numbers(form):
                continue
            if found := self._folded.get(form.casefold()):
                return _at_least_word(how), form, found
        return "", key, []

    def _has_numbers(self, form: str) -> bool:
        return any(
            _without_number(key).casefold() == form.casefold()
            and _without_word(key, IMAGE_WORD).casefold() != form.casefold()
            for key in self._keys
        )


def _at_least_word(how: str) -> str:
    """Return how a name fits where the image's own name differs by a word, or in capitals."""
    return max(how, "word", key=list(HOW).index)


def _forms(key: str) -> Iterator[tuple[str, str]]:
    """Yield the names of images that a mask's name may mean, the nearest first, and how."""
    yield "equal", key
    word = _without_word(key, MASK_WORD)
    yield "word", word
    yield "several", _without_number(key)
    yield "several", _without_word(_without_number(key), MASK_WORD)
    yield "several", _without_number(word)
    parent = PurePosixPath(key).parent.as_posix()
    if parent != ".":
        yield "folder", parent
        yield "folder", _without_word(parent, MASK_WORD)
        above, _, last = parent.rpartition("/")
        if above and re.fullmatch(MASK_WORD, last, re.I):
            yield "folder", above


def _without_word(key: str, word: str) -> str:
    """Return a path whose last part has lost a word behind or before it, with what divides them.

    >>> _without_word("p1/case_a_Mask", MASK_WORD), _without_word("mask", MASK_WORD)
    ('p1/case_a', 'mask')
    """
    folder, slash, name = key.rpartition("/")
    shorter = re.sub(rf"[ _.-]+{word}$", "", name, flags=re.I)
    if shorter == name:
        shorter = re.sub(rf"^{word}[ _.-]+", "", name, flags=re.I)
    return f"{folder}{slash}{shorter or name}"


def _without_number(key: str) -> str:
    """Return a path whose last part has lost the number behind it.

    >>> _without_number("case_a_12"), _without_number("case (2)"), _without_number("a12")
    ('case_a', 'case', 'a12')
    """
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}{re.sub(f'(?:{_NUMBER})$', '', name) or name}"
