"""The PET datasets that are distributed as volumes."""

from __future__ import annotations

from ...intensity import Window
from ..dataset import Dataset, Passport
from ..pairs import Pairs
from ..volumes import Volumes

# A study's folder holds one file of each kind, so the folders name it.
_STUDY = r"(?P<key>(?P<patient>[^/]+)/[^/]+)"

ENTRIES = [
    Dataset(
        name="pet_wholebody",
        title="PET-Wholebody",
        modality="PET",
        classes={"lesion": (1,)},
        reader=Volumes(
            Pairs(images=rf"{_STUDY}/SUV\.nii(?:\.gz)?", masks=rf"{_STUDY}/SEG\.nii(?:\.gz)?")
        ),
        intensity=Window(centre=5, width=10),  # standardized uptake values, clipped to 0..10
        folders=("FDG-PET-CT-Lesions",),
        passport=Passport(
            full_name="FDG-PET-CT-Lesions (AutoPET)",
            citation="Gatidis et al. 2022, doi 10.1038/s41597-022-01718-3; data: doi "
            "10.7937/gkr0-xv29",
            home="https://www.cancerimagingarchive.net/collection/fdg-pet-ct-lesions/",
            licence="CC BY 4.0",
            registration="none",
            layout="""\
FDG-PET-CT-Lesions/
  PETCT_0011f3deaf/                 a patient
    <study>/SUV.nii.gz              PET in standardized uptake values
    <study>/SEG.nii.gz              0 background, 1 lesion, on the grid of SUV
    <study>/CT.nii.gz, CTres.nii.gz, PET.nii.gz     not used""",
            count_rule=(
                "every axial slice with a lesion pixel; 513 of 1014 studies have none: left out, "
                "listed"
            ),
            traps=(
                "some patients have several studies: cases are named by both, patients counted "
                "once",
                "PET.nii.gz is in Bq/ml, SUV.nii.gz in uptake values: this one is read, clipped to "
                "0..10",
                "bladder, brain and heart take up as much as lesions do",
                "part of the study's journal version; its image count is not known here",
            ),
        ),
    ),
]
