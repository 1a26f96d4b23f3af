"""The MRI datasets, as they are distributed."""

from __future__ import annotations

from medsam_utils.datasets.dataset import Dataset, Passport
from medsam_utils.datasets.entries.decathlon import decathlon
from medsam_utils.datasets.volumes import Volumes
from medsam_utils.intensity import Percentile

ENTRIES = [
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
                "slices are cut across the axis that the header calls head to foot; published flat copies of "
                "this set show the chest from the side, so the study may have cut another axis",
                "how the study chose its 1302 slices is not published, so our count may differ",
            ),
        ),
    ),
]
