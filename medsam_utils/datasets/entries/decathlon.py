"""The file names of the Medical Segmentation Decathlon, which several entries share."""

from __future__ import annotations

from ..pairs import Pairs


def decathlon(prefix: str) -> Pairs:
    """Return the pairs of a task of the Medical Segmentation Decathlon.

    Images and masks have equal names in imagesTr and labelsTr.
    """
    name = rf"(?P<key>{prefix}_\d+)\.nii(?:\.gz)?"
    return Pairs(images=f"imagesTr/{name}", masks=f"labelsTr/{name}")
