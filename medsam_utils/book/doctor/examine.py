"""A look at a dataset before anything is computed on it: what is there, and what is odd about
it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import nibabel
import numpy as np
from tqdm import tqdm

from ...case import BadCaseError, Case, CaseReference, Exclusion
from ...datasets import DATASETS, Dataset, images
from ...datasets.formats import FLAT, VOLUME
from ...datasets.mask_files import is_segmentation
from ...datasets.masks import find_meaning, tidy_mask
from ...datasets.volume_files import read_volume
from .findings import Finding, Report

TINY = 20
"""Objects of fewer pixels are listed: often a slip of the pen, and one click covers them."""

PROFILE = 32
"""Number of heights at which the mean grey of an image is compared with that of the others."""

GRIDS = "mask and image on different grids"
UNDECLARED = "label values that are not in the passport"

# How the report calls a kind of exclusion; all others are files that cannot be used.
EXCLUSIONS = {
    "pairs": "files without a partner",
    "grid": GRIDS,
    "no object": "empty masks",
    "labels": UNDECLARED,
}


def examine(dataset: Dataset, sample: int | None = None) -> Report:
    """Read all cases of a dataset once, and return what was found; memory does not grow with the
    images.

    sample: at most so many cases, spread evenly over the list. Raises BadInputError if there is no
    case.
    """
    listing = dataset.list()
    references = listing.references
    if sample and sample < len(references):
        references = [
            references[i] for i in np.linspace(0, len(references) - 1, sample).astype(int)
        ]
    findings = [_excluded(e, e.path) for e in listing.exclusions]
    findings += [_not_read(dataset, e) for e in listing.not_read]
    areas: dict[str, list[int]] = {name: [] for name in dataset.classes}
    sizes, spacings = Counter(), Counter()
    seen: dict[bytes, tuple[CaseReference, bytes]] = {}
    profiles: dict[Path, np.ndarray] = defaultdict(lambda: np.zeros(PROFILE))
    codes: dict[str, list[str]] = defaultdict(list)
    by_area, patients, masks_seen, apart = [], set(), set(), set()
    for reference in tqdm(references, desc=dataset.name, disable=None):
        files = (reference.images, reference.masks)
        if files in apart:
            continue  # True of every slice: said once, and a volume not read again for each.
        try:
            case = dataset.load(reference)
        except BadCaseError as error:
            left_out = dataset.exclusion(reference.case_id, error, reference.images[0])
            findings.append(_excluded(left_out, left_out.case_id))
            if left_out.kind == "grid":
                apart.add(files)
            continue
        patients.add(case.patient_id)
        sizes[case.image.shape[:2]] += 1
        spacings[case.spacing and tuple(round(s, 3) for s in case.spacing)] += 1
        total = 0
        for name, mask in case.masks.items():
            if area := int(np.count_nonzero(mask)):
                areas[name].append(area)
                total += area
                if area < TINY:
                    detail = f"{name} has {area} pixels"
                    findings.append(Finding("tiny objects", case.case_id, detail, (reference,)))
        by_area.append((total, len(by_area), reference))
        if case.labelled is not None:
            rest = np.count_nonzero(
                case.labelled & ~np.logical_or.reduce(list(case.masks.values()))
            )
            if rest and dataset.other_labels is None:
                detail = f"{rest} labelled pixels belong to no class"
                findings.append(Finding(UNDECLARED, case.case_id, detail, (reference,)))
        findings += _repeated(case, reference, seen)
        profiles[reference.images[0]] += _profile(case.image)
        for path in reference.masks:
            if path not in masks_seen:
                masks_seen.add(path)
                findings += _raw_mask(dataset, path, reference, codes)
    findings += _orientations(codes) + _flipped(dataset, profiles, references)
    for what, counts in (("image sizes (rows x columns)", sizes), ("spacings (mm)", spacings)):
        if len(counts) > 1:
            findings.append(Finding("mixed " + what, _common(counts), look=True))
    middle = len(by_area) // 2
    return Report(
        f"{dataset.title} ({'phantoms' if dataset.level == 'demo' else 'your files'})",
        _facts(dataset, len(listing.references), len(references), patients, areas, sizes, spacings),
        len(by_area),
        findings,
        [reference for _, _, reference in sorted(by_area)[max(middle - 3, 0) : middle + 3]],
    )


def _excluded(left_out: Exclusion, where: str) -> Finding:
    """Turn what the reader left out into a finding."""
    kind = EXCLUSIONS.get(left_out.kind, "files that cannot be used")
    return Finding(kind, where, left_out.reason)


def _not_read(dataset: Dataset, file: Exclusion) -> Finding:
    """Turn a file that is part of no case into a finding; a dataset of the study may have some."""
    look = dataset.name in DATASETS or "hidden" in file.fact
    return Finding("files that are not read", file.path, file.fact, look=look)


def _facts(
    dataset: Dataset,
    listed: int,
    read: int,
    patients: set,
    areas: dict,
    sizes: Counter,
    spacings: Counter,
) -> list[str]:
    """Return the counts, one line each."""
    used = sum(sizes.values())
    facts = [f"{listed} cases listed, {read} read, {used} usable, of {len(patients)} patients"]
    if dataset.passport.study_images:
        facts.append(
            f"the study counts {dataset.passport.study_images}; counted here: "
            f"{dataset.passport.count_rule}"
        )
    for name, values in areas.items():
        median = f", median {np.median(values):.0f} pixels" if values else ""
        facts.append(f"{name}: {len(values)} objects{median}")
    facts.append(f"image sizes (rows x columns): {_common(sizes)}")
    facts.append(f"spacing (mm): {_common(spacings)}")
    return facts


def _common(counts: Counter, longest: int = 4) -> str:
    """Write the most frequent values with their counts."""
    parts = [
        f"{'unknown' if value is None else ' x '.join(f'{v:g}' for v in value)} ({n})"
        for value, n in counts.most_common(longest)
    ]
    return (", ".join(parts) or "none") + (
        f" and {len(counts) - longest} more" if len(counts) > longest else ""
    )


def _repeated(case: Case, reference: CaseReference, seen: dict) -> list[Finding]:
    """Compare an image with all before it: equal pixels, and equal or contradictory masks on
    them."""
    image = hashlib.sha256(str(case.image.shape).encode() + case.image.tobytes()).digest()
    masks = hashlib.sha256(
        b"".join(np.packbits(mask).tobytes() for mask in case.masks.values())
    ).digest()
    first, first_masks = seen.setdefault(image, (reference, masks))
    if (first.images, first.slice_index) == (reference.images, reference.slice_index):
        return []  # The same image: another of its objects.
    kind = (
        "duplicated images"
        if first_masks == masks
        else "duplicated images with contradictory masks"
    )
    return [Finding(kind, case.case_id, f"same pixels as {first.case_id}", (first, reference))]


def _raw_mask(dataset: Dataset, path: Path, reference: CaseReference, codes: dict) -> list[Finding]:
    """Look at the values of a mask file as stored; note the orientation of a volume in `codes`."""
    where = path.relative_to(dataset.root).as_posix() if dataset.root else path.name
    if is_segmentation(path):
        return []  # Its values are what its own header says.
    if re.search(VOLUME + "$", path.name, re.I):
        volume = read_volume(path)
        values = tidy_mask(volume.values, path)
        # Neither direction nor spacing: what is written when the header was lost.
        lost = np.allclose(volume.affine[:3, :3], np.eye(3))
        codes["identity" if lost else "".join(nibabel.aff2axcodes(volume.affine))].append(where)
    elif re.search(FLAT + "$", path.name, re.I):
        values = tidy_mask(images.read_mask(path, getattr(dataset.reader, "coloured", False)), path)
    else:
        return []  # DICOM and the like: masks there are not grey values.
    lossy = images.is_lossy(path)
    has_labels = any(dataset.classes.values())
    found = []
    if not has_labels and find_meaning(values, lossy).kind == "soft":
        grey = np.count_nonzero((values > 0) & (values < values.max()))
        how = " (JPEG: values are not exact)" if lossy else ""
        found.append(
            Finding(
                "soft masks",
                where,
                f"{grey} pixels between 0 and {values.max()}{how}",
                (reference,),
            )
        )
    is_wide = path.suffix.lower() in (".png", ".tif", ".tiff") and values.dtype.itemsize > 1
    if values.max() > 255 or is_wide:
        found.append(
            Finding(
                "16-bit masks", where, f"{values.dtype}, largest value {values.max()}", (reference,)
            )
        )
    return found


def _orientations(codes: dict[str, list[str]]) -> list[Finding]:
    """List the volumes whose axes run otherwise than most volumes' do, or whose header says
    nothing."""
    found = [
        Finding("identity affines, perhaps no orientation in the header", where, look=True)
        for where in codes.pop("identity", [])
    ]
    usual = max(codes, key=lambda code: len(codes[code]), default="")
    for code, paths in codes.items():
        if code != usual:
            detail = f"axes run {code}, in most others {usual}"
            found += [
                Finding("volumes stored in another orientation", where, detail, look=True)
                for where in paths
            ]
    return found


def _profile(image: np.ndarray) -> np.ndarray:
    """Mean grey from top to bottom, standardized; all 0 if it is constant."""
    profile = cv2.resize(
        image.mean(axis=(1, 2)).reshape(-1, 1), (1, PROFILE), interpolation=cv2.INTER_AREA
    )[:, 0]
    return (profile - profile.mean()) / (profile.std() or 1)


def _flipped(
    dataset: Dataset, profiles: dict[Path, np.ndarray], references: Iterable
) -> list[Finding]:
    """List images (volumes as a whole) that look like the others only when they are turned upside
    down.

    A comparison of one curve per file, no more: it needs images that resemble each other, and says
    nothing where they do not, or where half of them are flipped.
    """
    paths = list(profiles)
    curves = np.array([_unit(profiles[path]) for path in paths])
    if len(paths) < 6:
        return []
    others = [_unit(rest) for rest in curves.sum(axis=0) - curves]
    straight, turned = (np.einsum("ij,ij->i", c, others) for c in (curves, curves[:, ::-1]))
    if np.median(straight) < 0.5:
        return []
    odd = {paths[i]: turned[i] for i in np.flatnonzero((turned > 0.5) & (turned - straight > 0.5))}
    found = []
    for reference in references:
        if (fit := odd.pop(reference.images[0], None)) is not None:
            detail = f"resembles the others upside down (correlation {fit:.2f})"
            found.append(
                Finding("perhaps upside down", reference.case_id, detail, (reference,), look=True)
            )
    return found


def _unit(curve: np.ndarray) -> np.ndarray:
    """Return the curve without its mean, of length 1 (0 if it is constant)."""
    curve = curve - curve.mean()
    return curve / (np.linalg.norm(curve) or 1)
