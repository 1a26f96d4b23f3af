"""The CT datasets, as they are distributed."""

from __future__ import annotations

from ...intensity import Window
from ..dataset import Dataset, Passport
from ..pairs import Pairs
from ..volumes import Volumes
from .decathlon import decathlon

# The study publishes no window. These are the usual ones of a reading room.
_SOFT_TISSUE = Window(centre=40, width=400)
_LUNG = Window(centre=-600, width=1500)
_BONE = Window(centre=400, width=1800)
_WINDOW_TRAP = (
    "shown in a soft-tissue window, -160 to 240 HU; the study's is not published; another one: "
    "dataclasses.replace(dataset, intensity=Window(centre, width))"
)


def _decathlon_ct(
    name: str,
    title: str,
    task: str,
    prefix: str,
    classes: dict,
    labels: str,
    volumes: int,
    *traps: str,
) -> Dataset:
    """Make the entry of a CT task of the Medical Segmentation Decathlon."""
    return Dataset(
        name=name,
        title=title,
        modality="CT",
        classes=classes,
        reader=Volumes(decathlon(prefix)),
        intensity=_SOFT_TISSUE,
        folders=(task,),
        passport=Passport(
            full_name=f"Medical Segmentation Decathlon, {task.replace('_', ' ')}",
            citation="Antonelli et al. 2022, doi 10.1038/s41467-022-30695-9",
            home="http://medicaldecathlon.com",
            licence="CC BY-SA 4.0",
            registration="none",
            layout=f"""\
{task}/
  imagesTr/{prefix}_1.nii.gz ...
  labelsTr/{prefix}_1.nii.gz ...   0 background, {labels}
  imagesTs/{prefix}_2.nii.gz ...   no labels: not used
  dataset.json""",
            count_rule=f"every axial slice of the {volumes} labelled volumes with a labelled pixel",
            traps=(
                "the archive holds macOS files whose names begin with '._': they are skipped",
                *traps,
                _WINDOW_TRAP,
                "part of the study's journal version; its image count is not known here",
            ),
        ),
    )


ENTRIES = [
    Dataset(
        name="ct_liver",
        title="CT-Liver",
        modality="CT",
        classes={"liver": (1, 2)},
        reader=Volumes(
            Pairs(
                images=r"volume-(?P<key1>\d+)\.nii(?:\.gz)?|imagesTr/(?P<key2>liver_\d+)\.nii(?:\.gz)?",
                masks=r"segmentation-(?P<key1>\d+)\.nii(?:\.gz)?|labelsTr/(?P<key2>liver_\d+)\.nii(?:\.gz)?",
            ),
            trust_identity=False,
        ),
        intensity=_SOFT_TISSUE,
        folders=("Training Batch 1", "Training_Batch1", "volume_pt1", "Task03_Liver"),
        companions=(
            *("Training Batch 2", "Training_Batch2", "segmentations"),
            *(f"volume_pt{number}" for number in range(2, 9)),
        ),
        passport=Passport(
            full_name="Liver Tumor Segmentation Benchmark (LiTS), or Decathlon Task03 Liver, the "
            "same scans",
            citation="Bilic et al. 2023, doi 10.1016/j.media.2022.102680",
            home="https://competitions.codalab.org/competitions/17094; Task03: "
            "http://medicaldecathlon.com",
            licence="CC BY-NC-ND 4.0; Task03: CC BY-SA 4.0",
            registration="required; Task03: none",
            layout="""\
Training Batch 1/volume-0.nii, segmentation-0.nii ...     0 background, 1 liver, 2 tumour
Training Batch 2/volume-28.nii, segmentation-28.nii ...
or
Task03_Liver/imagesTr/liver_0.nii.gz, labelsTr/liver_0.nii.gz ...""",
            count_rule="every axial slice of the 131 labelled volumes with a pixel of liver or "
            "tumour",
            study_images=3501,
            traps=(
                "the liver is labels 1 and 2 together, as the study's code reads masks of one "
                "class",
                "volumes 28 to 47 have identity affines: no orientation, no spacing. They are cut "
                "across their last axis, masks are compared in shape only, and they may stand "
                "mirrored or upside down: look at them",
                "numbers are not padded with zeros, files not compressed; in copies folders have "
                "other names",
                "some images have a fourth axis of length 1: dropped",
                "both distributions side by side hold the same scans twice: keep one",
                "how the study chose 3501 of the 58 638 slices is not published",
                _WINDOW_TRAP,
            ),
        ),
    ),
    Dataset(
        name="ct_organ",
        title="CT-Organ",
        modality="CT",
        classes={"Liver": (1,), "Bladder": (2,), "Lung": (3,), "Kidney": (4,), "Bone": (5,)},
        other_labels=(6,),
        reader=Volumes(
            Pairs(
                images=r"volume-(?P<key>\d+)\.nii(?:\.gz)?",
                masks=r"labels-(?P<key>\d+)\.nii(?:\.gz)?",
            ),
            trust_identity=False,
        ),
        intensity=_SOFT_TISSUE,
        class_intensity={"Lung": _LUNG, "Bone": _BONE},
        passport=Passport(
            full_name="CT-ORG: CT volumes with multiple organ segmentations",
            citation=(
                "Rister et al. 2020, doi 10.1038/s41597-020-00715-8; data: doi "
                "10.7937/tcia.2019.tt7f4v7o"
            ),
            home="https://www.cancerimagingarchive.net/collection/ct-org/",
            licence="CC BY 3.0",
            registration="none; needs the archive's download program, a copy on Hugging Face does "
            "not",
            layout="""\
volume-0.nii.gz ... volume-139.nii.gz      in one folder or in volumes/
labels-0.nii.gz ... labels-139.nii.gz      in the same or in labels/
labels: 1 liver, 2 bladder, 3 lungs, 4 kidneys, 5 bone, 6 brain""",
            count_rule="every axial slice of the 140 volumes with a pixel of one of the study's "
            "five organs",
            study_images=4776,
            traps=(
                "the study's results have five of the six labels: brain (9 volumes) is no class; "
                "as one: dataclasses.replace(dataset, classes={**dataset.classes, 'Brain': (6,)}, "
                "other_labels=())",
                "labels may be stored as floats: rounded",
                "lungs, kidneys and bones are one object each, with several parts",
                "131 of the volumes are those of LiTS, with its traps: identity affines, mixed "
                "orientations",
                "how the study came to 4776 slices is not published",
                "lungs are shown from -1350 to 150 HU, bones from -500 to 1300, the others from "
                "-160 to 240; the study's windows are not published; others: "
                "dataclasses.replace(dataset, "
                "class_intensity={'Lung': Window(centre, width), 'Bone': Window(centre, width)})",
            ),
        ),
    ),
    _decathlon_ct(
        *("ct_spleen", "CT-Spleen", "Task09_Spleen", "spleen", {"spleen": (1,)}, "1 spleen", 41),
    ),
    _decathlon_ct(
        *("ct_colon", "CT-Colon", "Task10_Colon", "colon", {"tumour": (1,)}, "1 colon cancer", 126),
        "the class is the tumour, not the colon",
    ),
    _decathlon_ct(
        *("ct_pancreas", "CT-Pancreas", "Task07_Pancreas", "pancreas", {"pancreas": (1, 2)}),
        *("1 pancreas, 2 tumour", 281),
        "the pancreas is labels 1 and 2 together, as the study's code reads masks of one class",
    ),
    _decathlon_ct(
        *(
            "ct_hepaticvessel",
            "CT-Hepatovessel",
            "Task08_HepaticVessel",
            "hepaticvessel",
            {"vessel": (1, 2)},
        ),
        *("1 hepatic vessel, 2 tumour", 303),
        "the class is labels 1 and 2, vessels and tumours, together, as the study's code reads "
        "such masks",
        "vessels are thin and come in many parts, all of them one object",
    ),
]
