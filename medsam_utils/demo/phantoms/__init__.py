"""Phantoms: drawn images that look like their modality, in the files of the real distribution.

They stand in for a dataset that is not at hand, so that its reader, its page and its tests run.
Names, folders, file formats, dtypes and label values are the real ones; sizes and counts are
smaller, and what is to be seen is drawn by formula, not learned from or taken out of any image.
Nothing is known from them about how a model does on patients.

    python -m medsam_utils.demo.phantoms FOLDER [name ...]     writes them to FOLDER/<name>/
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ...cache import cache_folder
from ...datasets.dataset import MARKER
from .ct import (
    write_ct_colon,
    write_ct_hepaticvessel,
    write_ct_liver,
    write_ct_organ,
    write_ct_pancreas,
    write_ct_spleen,
)
from .dicom import write_mri_breast, write_mri_prostate_i2cvb, write_pet_liver
from .mri import write_mri_heart
from .mri_brain import write_mri_brain
from .mri_prostate import write_mri_prostate
from .mri_spine import write_mri_spine
from .pet import write_pet_wholebody
from .ultrasound import write_us_breast
from .ultrasound_limbs import write_us_muscle, write_us_nerve
from .ultrasound_organs import write_us_kidney, write_us_ovarian
from .xray import write_xray_chest
from .xray_hip import write_xray_hip

WRITERS: dict[str, Callable[[Path], None]] = {
    "ct_colon": write_ct_colon,
    "ct_hepaticvessel": write_ct_hepaticvessel,
    "ct_liver": write_ct_liver,
    "ct_organ": write_ct_organ,
    "ct_pancreas": write_ct_pancreas,
    "ct_spleen": write_ct_spleen,
    "mri_brain": write_mri_brain,
    "mri_breast": write_mri_breast,
    "mri_heart": write_mri_heart,
    "mri_prostate": write_mri_prostate,
    "mri_prostate_i2cvb": write_mri_prostate_i2cvb,
    "mri_spine": write_mri_spine,
    "pet_liver": write_pet_liver,
    "pet_wholebody": write_pet_wholebody,
    "us_breast": write_us_breast,
    "us_kidney": write_us_kidney,
    "us_muscle": write_us_muscle,
    "us_nerve": write_us_nerve,
    "us_ovarian": write_us_ovarian,
    "xray_chest": write_xray_chest,
    "xray_hip": write_xray_hip,
}


def phantom_folder(name: str) -> Path:
    """Return the folder with the phantoms of a dataset, and write them if they are not there yet.

    Its name holds a hash of this package's files: other drawings lie in another folder. They are
    written elsewhere and renamed, so that of several processes none sees half of them.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:10]
    folder = cache_folder() / "phantoms" / f"{name}-{version}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            write_phantoms(name, temporary)
            temporary.chmod(0o755)
            temporary.rename(folder)
        except OSError:
            # Another process was first; its files are the same.
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def write_phantoms(name: str, folder: Path) -> None:
    """Write the phantoms of a dataset to a folder, with a note by which they are told from real
    data."""
    WRITERS[name](folder)
    (folder / MARKER).write_text(
        "These images are drawn, not taken: see medsam_utils/demo/phantoms.\n"
    )
