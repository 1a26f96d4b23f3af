"""The ultrasound datasets, as they are distributed."""

from __future__ import annotations

from medsam_utils.datasets.dataset import Dataset, Passport
from medsam_utils.datasets.images import ImagePairs
from medsam_utils.datasets.masks import FOREGROUND
from medsam_utils.datasets.pairs import Pairs
from medsam_utils.intensity import EightBit

_BUSI = r"(?P<key>(?:benign|malignant|normal) \(\d+\))"
ENTRIES = [
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
