"""The datasets of the study, as they are distributed: one entry each."""

from __future__ import annotations

from medsam_utils.datasets.dataset import Dataset, Passport
from medsam_utils.datasets.images import ImagePairs
from medsam_utils.datasets.masks import FOREGROUND
from medsam_utils.datasets.pairs import Pairs
from medsam_utils.datasets.volumes import Volumes
from medsam_utils.intensity import EightBit, Percentile


def _decathlon(prefix: str) -> Pairs:
    """Pairs of a task of the Medical Segmentation Decathlon: equal names in imagesTr and labelsTr."""
    name = rf"(?P<key>{prefix}_\d+)\.nii(?:\.gz)?"
    return Pairs(images=f"imagesTr/{name}", masks=f"labelsTr/{name}")


_BUSI = r"(?P<key>(?:benign|malignant|normal) \(\d+\))"
_CHEST = r"(?P<key>(?:MCUCXR|CHNCXR)_\d+_[01])"
# Shenzhen's masks are told from images by their suffix, Montgomery's by their folder.
_CHEST_MASK = rf"{_CHEST}_mask\.png|(?:leftMask|rightMask|masks?)/{_CHEST.replace('key', 'key1')}\.png"

_ENTRIES = [
    Dataset(
        name="mri_heart",
        title="MRI-Heart",
        modality="MRI",
        classes={"left atrium": (1,)},
        reader=Volumes(_decathlon("la")),
        intensity=Percentile(),
        folders=("Task02_Heart",),
        passport=Passport(
            full_name="Medical Segmentation Decathlon, Task02 Heart (left atrium)",
            citation="Antonelli et al. 2022, doi 10.1038/s41467-022-30695-9",
            home="http://medicaldecathlon.com",
            licence="CC BY-SA 4.0",
            registration="none",
            layout="""\
Task02_Heart/
  imagesTr/la_003.nii.gz ...
  labelsTr/la_003.nii.gz ...   0 background, 1 left atrium
  imagesTs/la_001.nii.gz ...   no labels: not used
  dataset.json""",
            count_rule="every axial slice of the 20 labelled volumes with a labelled pixel",
            study_images=1302,
            traps=(
                "the archive holds macOS files whose names begin with '._': they are skipped",
                "slices are cut across the axis that the header calls head to foot; published flat copies of "
                "this set show the chest from the side, so the study may have cut another axis",
                "how the study chose its 1302 slices is not published, so our count may differ",
            ),
        ),
    ),
    Dataset(
        name="xray_chest",
        title="Xray-Chest",
        modality="X-ray",
        classes={"lungs": FOREGROUND},
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
            registration="none for the images and Montgomery's masks; a Kaggle account for Shenzhen's masks",
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
        name="us_breast",
        title="US-Breast",
        modality="Ultrasound",
        classes={"lesion": FOREGROUND},
        reader=ImagePairs(Pairs(images=rf"{_BUSI}\.png", masks=rf"{_BUSI}_mask(?:_\d+)?\.png")),
        intensity=EightBit(),
        folders=("Dataset_BUSI_with_GT",),
        passport=Passport(
            full_name="Breast Ultrasound Images (BUSI)",
            citation="Al-Dhabyani et al. 2020, doi 10.1016/j.dib.2019.104863",
            home="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
            licence="none stated at its home; CC0 as listed with its copy on Kaggle",
            registration="none at its home; a Kaggle account for the copy",
            layout="""\
Dataset_BUSI_with_GT/
  benign/benign (1).png, benign (1)_mask.png, sometimes benign (1)_mask_1.png ...
  malignant/malignant (1).png, malignant (1)_mask.png ...
  normal/normal (1).png, normal (1)_mask.png ...   empty masks""",
            count_rule="every image with a labelled pixel (647 of 780); several masks of an image are united",
            study_images=780,
            traps=(
                "the study's 780 counts the 133 normal images, whose masks are empty: listed as left out",
                "17 images have more than one mask file: united",
                "duplicates, and images with calipers or text burnt in, have been reported; none is removed",
            ),
        ),
    ),
]

ENTRIES = {entry.name: entry for entry in _ENTRIES}
