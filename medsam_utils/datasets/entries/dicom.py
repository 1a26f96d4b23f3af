"""The datasets that are distributed as DICOM: one entry each."""

from __future__ import annotations

from ...intensity import Percentile
from ..dataset import Dataset, Passport
from ..dicom import FILE
from ..masks import ANY_VALUE
from ..rtstruct import DicomStructures
from ..scans import DicomMasks
from ..segments import DicomSegments

_I2CVB = r"(?P<key>(?:(?:GE|Siemens)/)?Patient[ _]\d+)"
_DUKE = r"(?P<key>Breast_MRI_\d+)"

ENTRIES = [
    Dataset(
        name="mri_prostate_i2cvb",
        title="MRI-Prostate (I2CVB)",
        modality="MRI",
        classes={"prostate": ANY_VALUE},
        reader=DicomMasks(images=rf"{_I2CVB}/T2W/{FILE}", masks=rf"{_I2CVB}/GT/prostate/{FILE}"),
        intensity=Percentile(),
        passport=Passport(
            full_name="Initiative for Collaborative Computer Vision Benchmarking (I2CVB), "
            "prostate, T2W MRI",
            citation="Lemaître et al. 2015, doi 10.1016/j.compbiomed.2015.02.009",
            home="https://i2cvb.github.io, files at https://zenodo.org/record/162231",
            licence="not established",
            registration="none",
            layout="""\
GE/                              1.5 T
  Patient 410/                   with a space
    T2W/*.dcm
    GT/prostate/*.dcm            0 background, 255 prostate; GT/cg, GT/pz, GT/cap: not used
  ...
Siemens/                         3 T
  Patient 383/ ...""",
            count_rule="every slice with a prostate pixel, of each patient with as many mask as "
            "image slices",
            traps=(
                "masks are DICOM series: paired with the images by position, not by name or number",
                "the authors' own program reverses the masks along the slice axis: a mask series "
                "that runs on where the images end is read reversed, with a warning; whether "
                "positions that do agree are right cannot be told from headers (if outlines do not "
                "fit: read_with(flip_masks=True))",
                "one patient (428260) lacks a mask slice: such patients are left out and listed",
                "the study cites this set, but its images come very probably from the six-site one",
                "this layout is taken from programs that read the set; not checked on the files "
                "themselves",
            ),
        ),
    ),
    Dataset(
        name="pet_liver",
        title="PET-Liver",
        modality="PET",
        classes={"tumour": ANY_VALUE},
        reader=DicomStructures(
            # "Liver minus tumor" and "normal liver" are names of what is not tumour.
            rois=(("tumour", r"(?!.*(?:minus|normal|healthy|without)).*(?:tumou?r|lesion|gtv).*"),)
        ),
        intensity=Percentile(0, 99.9),
        passport=Passport(
            full_name="Y-90 PET/CT & SPECT/CT and Corresponding Contours Dataset 31JULY2020",
            citation="Van, Dewaraja, Sangogo, Mikell 2020, Deep Blue Data, University of Michigan",
            home="https://deepblue.lib.umich.edu/data",
            licence="not established",
            registration="not established",
            layout="""\
any folders with DICOM files of any name:
  <patient>/ ...   PET series, CT series, a structure set (RTSTRUCT) that refers to one of them""",
            study_images=16,
            count_rule="every PET slice with a voxel whose centre lies in a tumour's contour",
            traps=(
                "how its files are laid out is not established: what belongs together is told by "
                "UIDs",
                "which regions are tumours is told by their names, and the expression for them is "
                "a guess: a patient without such a region is left out, with the names that there "
                "are; another "
                'expression: read_with(rois=(("tumour", "..."),))',
                "contours drawn on the CT are filled there; a PET voxel then takes what holds at "
                "its centre",
                "a contour inside another one of the same region and plane is a hole",
                "how the study came to 16 images is not published, and its later results leave the "
                "set out",
            ),
        ),
    ),
    Dataset(
        name="mri_breast",
        title="MRI-Breast",
        modality="MRI",
        classes={"Breast": ANY_VALUE, "FGT": ANY_VALUE},
        reader=DicomSegments(
            images=rf"{_DUKE}/[^/]+/[^/]+/{FILE}",
            masks=rf"{_DUKE}/Segmentation_(?P=key)_(?:Breast|Dense_and_Vessels)\.seg\.nrrd",
            segments=(
                ("Breast", r"_Breast\.seg\.nrrd", r".*"),
                ("FGT", r"_Dense_and_Vessels\.seg\.nrrd", r"dense.*"),
            ),
            mapping=r".*filepath_filename-mapping\.csv",
            leave_out=("Breast_MRI_246", "Breast_MRI_435"),
        ),
        intensity=Percentile(),
        folders=("Duke-Breast-Cancer-MRI", "PKG - Duke-Breast-Cancer-MRI-Supplement-v3"),
        passport=Passport(
            full_name="Duke-Breast-Cancer-MRI with its supplement of segmentations",
            citation="Saha et al. 2018, doi 10.1038/s41416-018-0185-8; data: doi "
            "10.7937/TCIA.e3sv-re93",
            home="https://www.cancerimagingarchive.net/collection/duke-breast-cancer-mri/",
            licence="CC BY-NC 4.0",
            registration="none; images through the archive's own download program",
            layout="""\
Duke-Breast-Cancer-MRI/
  Breast_MRI_002/<study>/<series>/1-001.dcm ...
PKG - Duke-Breast-Cancer-MRI-Supplement-v3/.../Segmentation_Masks_NRRD/
  Breast_MRI_002/Segmentation_Breast_MRI_002_Breast.seg.nrrd
  Breast_MRI_002/Segmentation_Breast_MRI_002_Dense_and_Vessels.seg.nrrd
Breast-Cancer-MRI-filepath_filename-mapping.csv    the archive's table, saved as CSV""",
            count_rule="every axial slice of the series before contrast with a pixel of breast or "
            "FGT",
            traps=(
                "several series per patient: the one that the mapping table calls 'pre', by its "
                "UID; without the table, the only one with the word 'pre' in its description",
                "which number means dense tissue differs between patients: names in the header "
                "decide",
                "some segmentations have two layers",
                "some images are stored turned by 180 degrees or from the head down: orientation "
                "decides",
                "patients 246 and 435 have wrong annotations, as users of the set report: left "
                "out, listed",
                "not part of the study's first version",
            ),
        ),
    ),
]
