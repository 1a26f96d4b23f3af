"""The X-ray datasets, as they are distributed."""

from __future__ import annotations

from ...intensity import EightBit
from ..dataset import Dataset, Passport
from ..images import ImagePairs
from ..masks import ANY_VALUE
from ..pairs import Pairs
from ..volumes import Volumes

_CHEST = r"(?P<key>(?:MCUCXR|CHNCXR)_\d+_[01])"
# Shenzhen's masks are told from images by their suffix, Montgomery's by their folder.
_CHEST_MASK = (
    rf"{_CHEST}_mask\.png|(?:leftMask|rightMask|masks?)/{_CHEST.replace('key', 'key1')}\.png"
)

ENTRIES = [
    Dataset(
        name="xray_chest",
        title="Xray-Chest",
        modality="X-ray",
        classes={"lungs": ANY_VALUE},
        reader=ImagePairs(Pairs(images=rf"{_CHEST}\.png", masks=_CHEST_MASK)),
        intensity=EightBit(),
        folders=("MontgomerySet", "ChinaSet_AllFiles", "Lung Segmentation"),
        companions=("mask",),
        passport=Passport(
            full_name="Montgomery County and Shenzhen chest X-ray sets, with lung masks",
            citation=(
                "Jaeger et al. 2014, doi 10.3978/j.issn.2223-4292.2014.11.20; "
                "Shenzhen masks: Stirenko et al. 2018"
            ),
            home="https://data.lhncbc.nlm.nih.gov/public/Tuberculosis-Chest-X-ray-Datasets/",
            licence="none stated by the National Library of Medicine, which asks to be cited",
            registration="none for the images and Montgomery's masks; a Kaggle account for "
            "Shenzhen's masks",
            layout="""\
MontgomerySet/
  CXR_png/MCUCXR_0001_0.png ...
  ManualMask/leftMask/MCUCXR_0001_0.png ...
  ManualMask/rightMask/MCUCXR_0001_0.png ...
ChinaSet_AllFiles/
  CXR_png/CHNCXR_0001_0.png ...
mask/
  mask/CHNCXR_0001_0_mask.png ...          from Kaggle, yoctoman/shcxr-lung-mask""",
            count_rule="every image with a lung mask; left and right lung are one object",
            study_images=704,
            traps=(
                "Montgomery's left and right lung are two 1-bit files of one name: united",
                "96 of the 662 Shenzhen images have no mask: listed as left out",
                "most Shenzhen images have a palette: resolved to grey",
            ),
        ),
    ),
    Dataset(
        name="xray_hip",
        title="Xray-Hip",
        modality="X-ray",
        classes={"Femur": (1,), "Ilium": (2,)},
        reader=Volumes(
            Pairs(
                images=r"images/image_(?P<key>\d+)\.nii(?:\.gz)?",
                masks=r"labels/label_(?P<key>\d+)\.nii(?:\.gz)?",
            ),
            plane="stored",
        ),
        intensity=EightBit(),
        folders=("zm6bxzhmfz-1",),
        passport=Passport(
            full_name="X-ray images of the hip joints",
            citation="Gut 2021, doi 10.17632/zm6bxzhmfz.1",
            home="https://data.mendeley.com/datasets/zm6bxzhmfz/1",
            licence="CC BY 4.0",
            registration="none",
            layout="""\
images/image_001.nii.gz ... image_140.nii.gz
labels/label_001.nii.gz ...    0 background, 1 femur, 2 ilium""",
            count_rule="every image; femur and ilium are two objects",
            study_images=140,
            traps=(
                "pictures in NIfTI files, stored (row, column, 1) and upright so: the usual turn "
                "of a volume would lay them on their side",
                "values are floats up to a little above 255: stretched from the image's minimum to "
                "its maximum",
                "some labels have strips one pixel wide along the border: kept, at some cost of "
                "IoU",
                "which of the two labels the study calls ilium is told by anatomy, not by its code",
                "the header's voxel size may say nothing about the film",
                "the names of its folders are too general to be recognised: put them into "
                "DATA/xray_hip",
            ),
        ),
    ),
]
