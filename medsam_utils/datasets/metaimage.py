"""MetaImage files (.mha, .mhd): values and where they lie, as NIfTI tells it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np

from ..case import BadCaseError
from .nrrd_file import check_size
from .reading import data_file, inflate, reading

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST_HEADER = 100_000


def read_metaimage(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a MetaImage file: values, axes fastest first, and affine, 4 x 4, voxel to world (RAS+).

    Raises BadCaseError for a file that cannot be read, declares more than it holds, keeps its
    values in several files, or has not three axes.
    """
    with reading(path), path.open("rb") as file:
        head = file.read(_LONGEST_HEADER)
        end = re.search(rb"^\s*ElementDataFile\s*=[ \t]*([^\r\n]*)\r?\n?", head, re.M)
        if not end:
            raise ValueError("no ElementDataFile")
        lines = (line.split("=", 1) for line in head[: end.start()].decode().splitlines())
        header = {line[0].strip(): line[1].strip() for line in lines if len(line) == 2}
        place = end[1].decode().strip()
        shape = tuple(int(n) for n in header["DimSize"].split())
        itemtype = np.dtype(_TYPES[header["ElementType"]])
        size = math.prod(shape) * itemtype.itemsize
        if place.upper() == "LOCAL":
            file.seek(end.end())
            data = file.read()
        elif place.upper().startswith("LIST") or "%" in place:
            raise BadCaseError(
                "its values are in several files: save it as .mha", path, kind="format"
            )
        else:
            data = data_file(path, place).read_bytes()
            skip = int(header.get("HeaderSize", 0))
            data = data[-size:] if skip == -1 else data[skip:]
        channels = int(header.get("ElementNumberOfChannels", 1))
        if len(shape) != 3 or 0 in shape or channels != 1:
            raise BadCaseError(
                f"its shape is {shape}, with {channels} channels: save one volume of three axes",
                path,
                kind="format",
            )
        packed = _says(header, "CompressedData")
        check_size(shape, itemtype.itemsize, len(data), packed, path)
        if packed:
            data = inflate(data, size, wbits=47)
        big = _says(header, "BinaryDataByteOrderMSB") or _says(header, "ElementByteOrderMSB")
        if header.get("BinaryData", "True").lower() == "false":
            values = np.array(data.split(), itemtype)
        else:
            stored = itemtype.newbyteorder(">" if big else "<")
            values = np.frombuffer(data, stored, math.prod(shape)).astype(itemtype)
        return values.reshape(shape, order="F"), _affine(header, path)


def _says(header: dict[str, str], key: str) -> bool:
    return header.get(key, "").lower() == "true"


def _affine(header: dict[str, str], path: Path) -> np.ndarray:
    """Return voxel to world in RAS+; MetaImage's own world is that of DICOM.

    Raises BadCaseError if the header does not say where the volume lies.
    """

    def numbers(*names: str) -> np.ndarray | None:
        found = next((header[name] for name in names if name in header), None)
        return None if found is None else np.array([float(n) for n in found.split()])

    directions = numbers("TransformMatrix", "Rotation", "Orientation")
    spacing, origin = (
        numbers("ElementSpacing", "ElementSize"),
        numbers("Offset", "Position", "Origin"),
    )
    if directions is None or spacing is None or origin is None:
        raise BadCaseError(
            "the header does not place the volume in the patient (TransformMatrix, ElementSpacing, "
            "Offset): export it with its orientation",
            path,
            kind="format",
        )
    affine = np.eye(4)
    affine[:3, :3] = directions.reshape(3, 3).T * spacing
    affine[:3, 3] = origin
    affine[:2] *= -1
    return affine
