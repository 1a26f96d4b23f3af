"""The MRI datasets, as they are distributed."""

from __future__ import annotations

from ...intensity import Percentile
from ..dataset import Dataset, Passport
from ..pairs import Pairs
from ..volumes import Volumes
from .decathlon import decathlon

_SCGM = r"(?P<key>site\d+-sc\d+)"
_SAML = r"(?P<key>(?:BIDMC|BMC|HK|I2CVB|RUNMC|UCL)/Case\d+)"
# Of BraTS-GLI-00002-001 the last number is the visit.
_BRATS = r"(?P<key>(?P<patient>BraTS-GLI-\d+)-\d+|[^/]+)"

ENTRIES = [
    Dataset(
        name="mri_spine",
        title="MRI-Spine",
        modality="MRI",
        classes={"GM": (1,), "SC": (1, 2)},
        reader=Volumes(
            Pairs(
                images=rf"{_SCGM}-image\.nii(?:\.gz)?",
                masks=rf"{_SCGM}-mask-r(?P<rater>\d)\.nii(?:\.gz)?",
                raters=("1", "2", "3", "4"),
            ),
            rater="majority",
        ),
        intensity=Percentile(),
        passport=Passport(
            full_name="Spinal Cord Grey Matter Segmentation Challenge (SCGM)",
            citation="Prados et al. 2017, doi 10.1016/j.neuroimage.2017.03.010",
            home="http://niftyweb.cs.ucl.ac.uk/program.php?p=CHALLENGE",
            licence="license.txt in the archive; not established here",
            registration="through the challenge's page",
            layout="""\
train/
  site1-sc01-image.nii.gz ... site4-sc10-image.nii.gz
  site1-sc01-mask-r1.nii.gz ... -r4.nii.gz    four raters: 1 grey matter, 2 white matter
  site1-sc01-levels.txt                       not used
test/
  site1-sc11-image.nii.gz ...                 no masks: listed as left out""",
            count_rule=(
                "every axial slice of the 40 annotated volumes with grey matter or cord marked by "
                "at least "
                'three of the four raters; one rater: read_with(rater="1")'
            ),
            study_images=331,
            traps=(
                "cord is grey and white matter together, so the two classes overlap: under the "
                "released code's label rule each counts alone, as the study's code reads them as "
                "two datasets",
                "which rater the study used, and how it came to 331 slices, is not published",
                "some raters mark no grey matter in slices where others do",
                "objects are tiny: grey matter covers a hundredth of the image or less",
                "spacing and number of slices differ between the four sites",
            ),
        ),
    ),
    Dataset(
        name="mri_heart",
        title="MRI-Heart",
        modality="MRI",
        classes={"left atrium": (1,)},
        reader=Volumes(decathlon("la")),
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
                "slices are cut across the axis that the header calls head to foot; published flat "
                "copies of this set show the chest from the side, so the study may have cut "
                "another axis",
                "how the study chose its 1302 slices is not published, so our count may differ",
            ),
        ),
    ),
    Dataset(
        name="mri_prostate",
        title="MRI-Prostate",
        modality="MRI",
        classes={"prostate": (1, 2)},
        reader=Volumes(
            Pairs(images=rf"{_SAML}\.nii(?:\.gz)?", masks=rf"{_SAML}_segmentation\.nii(?:\.gz)?")
        ),
        intensity=Percentile(),
        folders=("BIDMC", "RUNMC"),
        companions=("BMC", "HK", "I2CVB", "UCL"),
        passport=Passport(
            full_name="Multi-site prostate MRI (six sites), as prepared for SAML",
            citation="Liu et al. 2020, SAML; sources: NCI-ISBI 2013, I2CVB, PROMISE12",
            home="https://liuquande.github.io/SAML/",
            licence="attribution, as listed with a copy; not established at its home",
            registration="none; the files are on Google Drive",
            layout="""\
BIDMC/Case00.nii.gz, Case00_segmentation.nii.gz ...
BMC/Case00.nii.gz, Case00_Segmentation.nii.gz ...     a capital S
HK/, I2CVB/, RUNMC/, UCL/ ...                         as BIDMC""",
            count_rule="every axial slice of the 116 volumes with a prostate pixel",
            study_images=1854,
            traps=(
                "the suffix of BMC's masks has a capital letter; who overlooks it takes masks for "
                "images",
                "numbers are not contiguous: the folder is listed, nothing is counted from 0",
                "in some sites two zones are labelled 1 and 2: the prostate is both",
                "the study cites I2CVB alone, but its count and the samples it shows fit this set; "
                "I2CVB as distributed is the entry mri_prostate_i2cvb",
            ),
        ),
    ),
    Dataset(
        name="mri_brain",
        title="MRI-Brain",
        modality="MRI",
        classes={"Core": (1,), "Edema": (2,), "GD": (3, 4)},
        reader=Volumes(
            Pairs(
                images=rf"{_BRATS}/(?P=key)[_-](?P<channel>flair|t1|t1ce|t2|t1n|t1c|t2w|t2f)\.nii(?:\.gz)?",
                masks=rf"{_BRATS}/(?:(?P=key)[_-]seg|W39_1998\.09\.19_Segm)\.nii(?:\.gz)?",
                channels=(
                    ("flair", "flair|t2f"),
                    ("t1", "t1n?"),
                    ("t1ce", "t1ce?"),
                    ("t2", "t2w?"),
                ),
            ),
            channels="flair",
        ),
        intensity=Percentile(),
        folders=(
            "MICCAI_BraTS_2018_Data_Training",
            "MICCAI_BraTS_2019_Data_Training",
            "MICCAI_BraTS2020_TrainingData",
            "RSNA_ASNR_MICCAI_BraTS2021_TrainingData",
            "ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData",
        ),
        passport=Passport(
            full_name="Brain Tumor Segmentation Challenge (BraTS), editions 2018 to 2023",
            citation="Menze et al. 2015, doi 10.1109/TMI.2014.2377694; Bakas et al. 2017, "
            "doi 10.1038/sdata.2017.117",
            home="https://www.synapse.org, 2021: syn25829067, 2023: syn51156910",
            licence="CC BY-NC as listed in catalogues, and the challenge's terms of use",
            registration="required",
            layout="""\
one folder per case, below folders of any name:
  <case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz     2018, 2019, 2021; .nii in 2020
  <case>/<case>-{t2f,t1n,t1c,t2w,seg}.nii.gz      2023
labels: 1 necrotic and non-enhancing core, 2 oedema, 4 (in 2023: 3) enhancing tumour""",
            count_rule=(
                "every axial slice with a tumour pixel, shown in FLAIR; another sequence: "
                'read_with(channels="t1ce"), three as red, green, blue: '
                'read_with(channels=("flair", "t1ce", '
                '"t2"))'
            ),
            study_images=13107,
            traps=(
                "enhancing tumour is 4 up to 2021 and 3 in 2023, and then 4 does not occur: both "
                "are GD",
                "the mask of case 355 of 2020 is called W39_1998.09.19_Segm.nii",
                "the Decathlon's copy of this set numbers its labels otherwise: not read here",
                "several editions in one folder hold the same patients again: keep one",
                "edition, sequence and choice of slices of the study are not published",
            ),
        ),
    ),
]
