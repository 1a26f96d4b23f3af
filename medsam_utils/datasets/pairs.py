"""Which image belongs to which mask: by file name, for every dataset that comes as files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from medsam_utils.case import Exclusion


@dataclass(frozen=True)
class Pair:
    """One image and its masks. key: what their names have in common; patient: who is shown."""

    key: str
    patient: str
    image: Path
    masks: tuple[Path, ...]


@dataclass(frozen=True)
class Pairs:
    """Two regular expressions, one that image files match and one that mask files match.

    They are matched, ignoring case, against the end of the path relative to the dataset's folder
    (with "/" on every system), so that it does not matter how deep a user has unpacked it. Files
    that neither matches are ignored. The group `key` says what belongs together (several groups
    `key1`, `key2` ... are joined by "/"); several masks of one key are united by the reader.
    The images' group `patient`, if there is one, names the patient; otherwise it is the key.
    """

    images: str
    masks: str

    def find(self, root: Path, within: tuple[str, ...] = ()) -> tuple[list[Pair], list[Exclusion]]:
        """Return the pairs and the files without a partner, both in natural order of their keys.

        within: the folders below `root` to look into; empty: all of it. No file is opened.
        """
        image_name, mask_name = (re.compile(f"(?:.*?/)??(?:{p})", re.I) for p in (self.images, self.masks))
        images: dict[str, list[re.Match]] = {}
        masks: dict[str, list[re.Match]] = {}
        for path in walk(root, within):
            # The mask's expression goes first: it is the narrower one where names differ by a suffix.
            if match := mask_name.fullmatch(path):
                masks.setdefault(_key(match), []).append(match)
            elif match := image_name.fullmatch(path):
                images.setdefault(_key(match), []).append(match)
        pairs, exclusions = [], []
        for key in sorted(images.keys() | masks.keys(), key=natural):
            found, partners = images.get(key, []), masks.get(key, [])
            names = ", ".join(match.string for match in found or partners)
            if not partners:
                exclusions.append(Exclusion(key, f"image without mask: {names}", found[0].string))
            elif not found:
                exclusions.append(Exclusion(key, f"mask without image: {names}", partners[0].string))
            elif len(found) > 1:
                reason = (
                    f"{len(found)} images of one name, which of them the mask belongs to is unknown: {names}"
                )
                exclusions.append(Exclusion(key, reason, found[0].string))
            else:
                patient = found[0].groupdict().get("patient") or key
                paths = tuple(root / match.string for match in partners)
                pairs.append(Pair(key, patient, root / found[0].string, paths))
        return pairs, exclusions


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
    return "/".join(text for name, text in match.groupdict().items() if name.startswith("key") and text)


def walk(root: Path, within: tuple[str, ...]) -> list[str]:
    """Return the files below a folder, relative, sorted; without names that begin with a dot.

    Such names are the "._*" files that macOS leaves in archives. Links are followed, once.
    """
    files, seen = [], set()
    for top in [root / name for name in within] or [root]:
        for folder, subfolders, names in os.walk(top, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                subfolders.clear()
                continue
            seen.add(real)
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            files += [Path(folder, name).relative_to(root).as_posix() for name in names if name[0] != "."]
    return sorted(files)
