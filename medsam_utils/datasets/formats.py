"""Which files of an own folder are read: by their names, and DICOM by how a file begins."""

from __future__ import annotations

import re
from pathlib import Path

from .dicom import is_dicom
from .pairs import printable
from .reading import is_regular, why_irregular

FLAT = r"\.(?:png|jpe?g|tiff?|bmp|npy|webp|gif|p[gpnb]m)"
VOLUME = r"\.(?:nii(?:\.gz)?|nrrd|nhdr|mh[ad]|mg[hz]|hdr)"

_READ = {
    "flat": re.compile(f"(.+?){FLAT}", re.I),
    "volume": re.compile(f"(.+?)(?:\\.seg)?{VOLUME}", re.I),
}
_DICOM = re.compile(r"(.+?)\.(?:dcm|ima|dicom)", re.I)

_REMEDIES = {
    r"\.(?:zip|tar|tgz|tar\.gz|7z|rar|gz|bz2)": "an archive: unpack it",
    r"\.npz": "a container of arrays without imgs or gts, or cut off: save each array as npy",
    r"\.(?:mat|h5|hdf5|pkl|pt)": "a container of arrays: save each as npy",
    r"\.(?:jp2|j2k|svs|ndpi|czi|lif|vsi|jxl|heic|avif)": "its format is not read: save it as PNG",
    r"\.(?:json|csv|txt|xml|xlsx?|md|pdf|html?|ya?ml|tsv|geojson)": "text or a table, no image",
    r"\.(?:stl|obj|vtk|vtp|ply)": "a surface, no mask: save it as a label map",
}


def find_format(path: Path) -> str:
    """Return what a file is read as: "flat", "volume" or "dicom"; empty if it is not read."""
    for kind, pattern in _READ.items():
        if pattern.fullmatch(path.name):
            return kind
    return "dicom" if is_dicom(path) else ""


def stem(path: str) -> str:
    """Return a path without the suffix of a format that is read.

    >>> stem("a.v2.nii.gz"), stem("p1/b.seg.nrrd"), stem("PT.1.2.3")
    ('a.v2', 'p1/b', 'PT.1.2.3')
    """
    for pattern in (*_READ.values(), _DICOM):
        if match := pattern.fullmatch(path):
            return match[1]
    return path


def why_not_read(path: Path) -> str:
    """Return why a file that is part of no case is not read."""
    if path.name.startswith(".") or any(part.startswith(".") for part in path.parts[1:]):
        return "a hidden file: its name, or that of its folder, begins with a dot"
    if printable(str(path)) != str(path):
        return "its name is not UTF-8: rename it"
    if not is_regular(path):
        return why_irregular(path)
    if find_format(path):
        return "of a format that is read, but part of no case"
    for pattern, reason in _REMEDIES.items():
        if re.search(f"{pattern}$", path.name, re.I):
            return reason
    return "not of a format that is read, by its name or by how it begins"
