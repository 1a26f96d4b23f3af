"""The datasets of the study, as they are distributed: one entry each."""

from __future__ import annotations

from . import ct, dicom, mri, pet, ultrasound, xray

_MODULES = (mri, ct, pet, dicom, xray, ultrasound)

ENTRIES = {entry.name: entry for module in _MODULES for entry in module.ENTRIES}
