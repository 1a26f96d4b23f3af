"""Which image belongs to which mask: by file name, for every dataset that comes as files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..case import Exclusion


@dataclass(frozen=True)
class Pair:
    """Images of one view and their masks.

    key: what their names have in common. patient: who is shown.

    images: one, or one per channel that was asked for; masks: one per rater that was asked for, or
    all. how: the names fit, see `by_name.HOW`.
    """

    key: str
    patient: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]
    how: str = "equal"

    @property
    def image(self) -> Path:
        """Image of a pair that has one."""
        (image,) = self.images
        return image


@dataclass(frozen=True)
class Pairs:
    """Two regular expressions, one that image files match and one that mask files match.

    They are matched, ignoring case, against the end of the path relative to the dataset's folder
    (with "/" on every system), so that it does not matter how deep a user has unpacked it. Files
    that neither matches are ignored. The group `key` says what belongs together (several groups
    `key1`, `key2` ... are joined by "/"); several masks of one key are united by the reader. The
    images' group `patient`, if there is one, names the patient; otherwise it is the key. channels:
    the names of the images of one key, each with what the images' group `channel` is for it;
    raters: what the masks' group `rater` can be. Both are empty where there is one image, or where
    all masks show the same.
    """

    images: str
    masks: str
    channels: tuple[tuple[str, str], ...] = ()
    raters: tuple[str, ...] = ()

    def find(
        self,
        root: Path,
        within: tuple[str, ...] = (),
        channels: tuple[str, ...] = (),
        raters: tuple[str, ...] = (),
    ) -> tuple[list[Pair], list[Exclusion]]:
        """Return the pairs and the files without a partner, both in natural order of their keys.

        within: the folders below `root` to look into; empty: all of it. channels, raters: which
        ones are wanted, in this order; a key that lacks one is an exclusion. No file is opened.
        """
        image_name, mask_name = (
            re.compile(f"(?:.*?/)??(?:{p})", re.I) for p in (self.images, self.masks)
        )
        images: dict[str, list[re.Match]] = {}
        masks: dict[str, list[re.Match]] = {}
        for path in walk(root, within):
            # The mask's expression goes first: it is the narrower one where names differ by a
            # suffix.
            if match := mask_name.fullmatch(path):
                masks.setdefault(_key(match), []).append(match)
            elif match := image_name.fullmatch(path):
                images.setdefault(_key(match), []).append(match)
        wanted = [(name, dict(self.channels)[name]) for name in channels]
        pairs, exclusions = [], []
        for key in sorted(images.keys() | masks.keys(), key=natural):
            found, partners = images.get(key, []), masks.get(key, [])
            names = ", ".join(match.string for match in found or partners)
            try:
                if not partners:
                    raise LookupError("image without mask")
                if not found:
                    raise LookupError("mask without image")
                chosen = _choose(found, "channel", wanted)
                raters_masks = _choose(
                    partners, "rater", [(name, re.escape(name)) for name in raters]
                )
                if len(chosen) > max(1, len(channels)):
                    raise LookupError(
                        f"{len(found)} images of one name, which of them the mask belongs to is "
                        "unknown"
                    )
            except LookupError as problem:
                first = (found or partners)[0].string
                fact = str(problem) if names == first else f"{problem}: {names}"
                files = tuple(match.string for match in (*found, *partners))
                exclusions.append(Exclusion(key, "pairs", first, fact, files))
                continue
            patient = found[0].groupdict().get("patient") or key
            both = [
                tuple(root / match.string for match in files) for files in (chosen, raters_masks)
            ]
            pairs.append(Pair(key, patient, both[0], both[1]))
        return pairs, exclusions


def _choose(matches: list[re.Match], group: str, wanted: list[tuple[str, str]]) -> list[re.Match]:
    """Return the one file of each name wanted, in this order; all files if none is wanted.

    wanted: names, each with the expression of its group's text. Raises LookupError, with what is
    missing.
    """
    chosen = []
    for name, expression in wanted:
        fitting = [match for match in matches if re.fullmatch(expression, match[group], re.I)]
        if len(fitting) != 1:
            raise LookupError(f"{len(fitting)} files of {group} {name}")
        chosen += fitting
    return chosen or matches


def natural(name: str) -> tuple:
    """Sort key that puts "volume-2" before "volume-10".

    >>> sorted(["b (10)", "b (9)", "a"], key=natural)
    ['a', 'b (9)', 'b (10)']
    """
    parts = re.split(r"(\d+)", name)
    # The name itself at the end: "1" and "01" are not equal.
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts), name


def _key(match: re.Match) -> str:
    """Join the groups whose name begins with "key"."""
    return "/".join(
        text for name, text in match.groupdict().items() if name.startswith("key") and text
    )


def walk(root: Path, within: tuple[str, ...], hidden: bool = False) -> list[str]:
    """Return the files below a folder, relative, sorted; without names that begin with a dot.

    Such names are the "._*" files that macOS leaves in archives. Names that are no text are left
    out, too. Links are followed, once. hidden: return all these files too.
    """
    files, seen = [], set()
    for top in [root / name for name in within] or [root]:
        for folder, subfolders, names in os.walk(top, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if hidden or name[0] != ".")
            below = Path(folder).relative_to(root).as_posix()
            start = "" if below == "." else f"{below}/"
            files += [start + name for name in names if hidden or name[0] != "."]
    return sorted(path for path in files if hidden or printable(path) == path)


def printable(name: str) -> str:
    r"""Return a name as text: bytes in it that are no UTF-8 are written as numbers.

    >>> printable("a/é.png"), printable("a/\udce9.png")
    ('a/é.png', 'a/\\xe9.png')
    """
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")
