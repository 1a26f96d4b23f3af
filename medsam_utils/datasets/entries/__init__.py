"""The datasets of the study, as they are distributed: one entry each."""

from __future__ import annotations

from medsam_utils.datasets.entries import dicom, mri, ultrasound, xray

ENTRIES = {entry.name: entry for module in (mri, dicom, xray, ultrasound) for entry in module.ENTRIES}
