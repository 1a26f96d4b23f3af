"""The datasets, as they are distributed, one entry each: the study's, and some from packages."""

from __future__ import annotations

from . import ct, dicom, mri, packages, pet, ultrasound, xray

_MODULES = (mri, ct, pet, dicom, xray, ultrasound, packages)

ENTRIES = {entry.name: entry for module in _MODULES for entry in module.ENTRIES}
