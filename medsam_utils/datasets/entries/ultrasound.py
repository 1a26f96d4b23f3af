"""The ultrasound datasets, as they are distributed."""

from __future__ import annotations

from ...intensity import EightBit
from ..dataset import Dataset, Passport
from ..images import ImagePairs
from ..masks import ANY_VALUE
from ..pairs import Pairs

_BUSI = r"(?P<key>(?:benign|malignant|normal) \(\d+\))"
_NERVE = r"(?P<key>(?P<patient>\d+)_\d+)"
_LIMB = r"(?P<key1>BB|GM|TA)/(?P<key2>Healthy|Pathological)"
# MMOTU: the authors' layout, and that of the copy on figshare, which is split in two.
_OVARY_IMAGES = (
    r"OTU_2d/images/(?P<key1>\d+)\.jpg"
    r"|OTU_2d/(?P<key2>train)/train_image/(?P<key3>\d+)\.jpg"
    r"|OTU_2d/(?P<key4>test)/image/(?P<key5>\d+)\.jpg"
)
_OVARY_MASKS = (
    r"OTU_2d/annotations/(?P<key1>\d+)\.png"
    r"|OTU_2d/(?P<key2>train)/train_label/label/(?P<key3>\d+)\.png"
    r"|OTU_2d/(?P<key4>test)/label/black_write/(?P<key5>\d+)\.png"
)

ENTRIES = [
    Dataset(
        name="us_breast",
        title="US-Breast",
        modality="Ultrasound",
        classes={"lesion": ANY_VALUE},
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
            count_rule="every image with a labelled pixel (647 of 780); several masks of an image "
            "are united",
            study_images=780,
            traps=(
                "the study's 780 counts the 133 normal images, whose masks are empty: listed as "
                "left out",
                "17 images have more than one mask file: united",
                "duplicates, and images with calipers or text burnt in, have been reported; none "
                "is removed",
            ),
        ),
    ),
    Dataset(
        name="us_kidney",
        title="US-Kidney",
        modality="Ultrasound",
        classes={"kidney": ANY_VALUE},
        reader=ImagePairs(
            Pairs(images=r"slice/slice/(?P<key>[^/]+)\.png", masks=r"mask/mask/(?P<key>[^/]+)\.png")
        ),
        intensity=EightBit(),
        passport=Passport(
            full_name="CT2US for Kidney Segmentation",
            citation="Song et al. 2022, doi 10.1016/j.ultras.2022.106706",
            home="https://www.kaggle.com/datasets/siatsyx/ct2usforkidneyseg",
            licence="GPL 2, as others have recorded it from its page",
            registration="a Kaggle account",
            layout="""\
slice/slice/*.png
mask/mask/*.png    same names; grey borders: 128 and more is kidney""",
            count_rule="every image with a kidney pixel",
            study_images=4586,
            traps=(
                "no ultrasound of patients: images made out of CT slices by a network",
                "masks have grey borders: 128 and more counts; the study's code keeps exactly 255, "
                "which mask_threshold=255 does",
                "which slices are of one patient is not told: every image counts as its own "
                "patient, and intervals come out too narrow",
                "its folders have names too general to be recognised: put them into DATA/us_kidney",
            ),
        ),
    ),
    Dataset(
        name="us_nerve",
        title="US-Nerve",
        modality="Ultrasound",
        classes={"brachial plexus": ANY_VALUE},
        reader=ImagePairs(Pairs(images=rf"{_NERVE}\.tif", masks=r"(?P<key>\d+_\d+)_mask\.tif")),
        intensity=EightBit(),
        folders=("ultrasound-nerve-segmentation",),
        passport=Passport(
            full_name="Ultrasound Nerve Segmentation (brachial plexus in the neck)",
            citation="Kaggle competition ultrasound-nerve-segmentation, 2016",
            home="https://www.kaggle.com/competitions/ultrasound-nerve-segmentation",
            licence="the competition's rules",
            registration="a Kaggle account, and consent to the rules",
            layout="""\
train/
  1_1.tif       subject 1, frame 1
  1_1_mask.tif  0 background, 255 nerve; empty where none was seen
  ...
test/           no masks: not used""",
            count_rule="every image with a labelled pixel (2,323 of 5,635)",
            traps=(
                "3,312 masks are empty: listed as left out",
                "almost equal frames of one subject, one with and one without a mask, have been "
                "reported",
                "the mask is the region of the plexus, not the single nerves",
                "not part of the study's first version",
            ),
        ),
    ),
    Dataset(
        name="us_muscle",
        title="US-Muscle",
        modality="Ultrasound",
        classes={"muscle": ANY_VALUE},
        reader=ImagePairs(
            Pairs(
                images=rf"{_LIMB}/Images/(?P<key3>[^/]+)\.png",
                masks=rf"{_LIMB}/Masks/(?P<key3>[^/]+)\.png",
            )
        ),
        intensity=EightBit(),
        folders=("Polito-Radboud-DeepLearningUS",),
        passport=Passport(
            full_name="Transverse musculoskeletal ultrasound images (Polito-Radboud)",
            citation="Marzola et al. 2021, doi 10.1016/j.compbiomed.2021.104623",
            home="https://data.mendeley.com/datasets/3jykz7wz8d/1",
            licence="CC BY 4.0, as others have recorded it",
            registration="none",
            layout="""\
Polito-Radboud-DeepLearningUS/
  BB/                          biceps brachii
    Healthy/Images/*.png
    Healthy/Masks/*.png        same names; not 0: the muscle's section
    Pathological/...
  GM/ ...                      gastrocnemius medialis
  TA/ ...                      tibialis anterior""",
            count_rule="every image with a labelled pixel",
            traps=(
                "the archive holds another archive (long paths: trouble on Windows)",
                "file names repeat between muscles: a case is named muscle/state/name",
                "1,283 subjects are said to be shown, which name belongs to whom is not told: "
                "every image counts as its own patient, and intervals come out too narrow",
                "catalogues count 3,917 images, the study's later work 4,044 with a mask",
                "a folder with the authors' split for training repeats images in another layout: "
                "not used",
                "not part of the study's first version",
            ),
        ),
    ),
    Dataset(
        name="us_ovarian",
        title="US-Variantumor",
        modality="Ultrasound",
        classes={"tumour": ANY_VALUE},
        reader=ImagePairs(Pairs(images=_OVARY_IMAGES, masks=_OVARY_MASKS), coloured=True),
        intensity=EightBit(),
        folders=("OTU_2d",),
        passport=Passport(
            full_name="Multi-Modality Ovarian Tumor Ultrasound (MMOTU), two-dimensional images",
            citation="Zhao et al., doi 10.1016/j.patcog.2025.112311",
            home="https://github.com/cv516Buaa/MMOTU_DS2Net",
            licence="not stated at its home; CC BY 4.0 for the copy on figshare",
            registration="none",
            layout="""\
OTU_2d/
  images/1.JPG ...
  annotations/1.PNG ...        a colour per kind of tumour on black
  annotations/1_binary.PNG     and others with "_": not used
or, the copy on figshare:
OTU_2D/
  train/train_image/*.JPG, train/train_label/label/*.PNG
  test/image/*.JPG, test/label/black_write/*.PNG""",
            count_rule="every image with a labelled pixel; all kinds of tumour are one class",
            traps=(
                "masks are coloured by kind of tumour: whatever is not black is tumour",
                "suffixes are in capitals",
                "the 170 images with contrast agent (OTU_CEUS) are not used",
                "images are JPEG, some with calipers or text",
                "which images are of one patient is not told (no patient ids): every image counts "
                "as its own patient, and intervals come out too narrow",
                "'US-Variantumor' is how the study's released table spells it; not part of its "
                "first version",
            ),
        ),
    ),
]
