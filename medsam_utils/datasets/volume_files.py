"""Files of volumes, NIfTI and NRRD: their values, their place in space, and upright slices."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import nibabel
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.volumeutils import apply_read_scaling

from ..case import BadCaseError
from .companions import companions
from .metaimage import read_metaimage
from .nrrd_file import check_size, read_nrrd
from .reading import inflate, reading

# For each plane the world axes (0 right, 1 anterior, 2 superior) of its slices, rows and columns.
# On the screen rows run to inferior or posterior, columns to the left or (sagittal) to posterior,
# so each in-plane axis runs against its world axis: the radiological convention.
PLANES = {"sagittal": (0, 2, 1), "coronal": (1, 2, 0), "axial": (2, 1, 0)}

# Formats that nibabel does not read.
_OTHERS = {
    **dict.fromkeys((".nrrd", ".nhdr"), lambda path: read_nrrd(path)[:2]),
    **dict.fromkeys((".mha", ".mhd"), read_metaimage),
}

# Bytes before the values of a NIfTI-1 file without extensions.
_HEADER = 352


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie, and how its upright slices are cut.

    shape: three axes. affine: 4 x 4, voxel to world in mm (RAS+). header: that of a NIfTI file,
    None for other formats.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    cut: Cut
    header: nibabel.Nifti1Header | None = None

    @property
    def count(self) -> int:
        """Return the number of slices."""
        return self.shape[self.cut.slice_axis]

    @property
    def apart(self) -> float:
        """Return the distance from slice to slice, in mm if the affine tells it."""
        return float(nibabel.affines.voxel_sizes(self.affine)[self.cut.slice_axis])


def read_grid(path: Path, plane: str) -> Grid:
    """Read the grid of a NIfTI or NRRD file; raises BadCaseError for a file that cannot be read."""
    header = None
    if path.suffix.lower() in _OTHERS:
        volume = read_volume(path)
        shape, affine = volume.values.shape, volume.affine
    else:
        with reading(path), _stream(path) as file:
            proxy, affine, header = _open(path, file.read(_HEADER))
        shape = (*proxy.shape, 1)[:3]
        if len(shape) < 3:
            raise BadCaseError(
                f"its shape is {proxy.shape}: save one volume of three axes", path, kind="format"
            )
    return Grid(shape, affine, find_cut(shape, affine, plane, path), header)


@dataclass(frozen=True)
class Volume:
    """A volume as it lies in its file.

    values: three axes. affine: 4 x 4, voxel to world in mm (RAS+).
    """

    values: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Cut:
    """How to cut upright slices out of a file's array: which axis is which, and what to flip."""

    slice_axis: int
    row_axis: int
    column_axis: int
    flip_rows: bool
    flip_columns: bool

    def slice(self, values: np.ndarray, index: int) -> np.ndarray:
        """Return one slice, (row, col), as a view; index counts along the file's own axis."""
        upright = values.transpose(self.slice_axis, self.row_axis, self.column_axis)[index]
        return upright[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


def read_volume(path: Path) -> Volume:
    """Read a NIfTI, NRRD, MetaImage or FreeSurfer file of three axes.

    The values have the stored dtype; they are float only where the header scales them.

    Trailing axes of length 1 are dropped, and an image of two axes gets a third of length 1. Raises
    BadCaseError for a file that cannot be read, has more axes, or declares more than it can hold.
    """
    if path.suffix.lower() in _OTHERS:
        values, affine = _OTHERS[path.suffix.lower()](path)
        if values.ndim != 3 or 0 in values.shape:
            raise BadCaseError(
                f"its shape is {values.shape}: save one volume of three axes", path, kind="format"
            )
        return Volume(values, affine)
    with reading(path):
        packed = path.read_bytes() if _is_gzip(path) else b""
        with path.open("rb") as file:
            first = zlib.decompressobj(wbits=31)
            head = first.decompress(packed, _HEADER) if packed else file.read(_HEADER)
        proxy, affine, _ = _open(path, head)
        shape = proxy.shape
        # Of a pair of files the second one holds the values.
        stored = sum(part.stat().st_size for part in (path, *companions(path)))
        is_packed = bool(packed) or path.suffix.lower() == ".hdr"
        check_size(shape, proxy.dtype.itemsize, len(packed) or stored, is_packed, path)
        if 0 in shape or len([n for n in shape[3:] if n != 1]) or len(shape) < 2:
            raise BadCaseError(
                f"its shape is {shape}: save one volume of three axes", path, kind="format"
            )
        values = _values(proxy, packed)
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        values = values.reshape((*shape, 1)[:3] if len(shape) == 2 else shape[:3])
    return Volume(values, affine)


def _is_gzip(path: Path) -> bool:
    """Tell whether a file is packed by gzip: by its first bytes, whatever its name says."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _stream(path: Path) -> BinaryIO:
    """Open a file, packed or not."""
    return cast(BinaryIO, gzip.open(path)) if _is_gzip(path) else path.open("rb")


def _open(path: Path, head: bytes) -> tuple[ArrayProxy, np.ndarray, nibabel.Nifti1Header | None]:
    """Read a file's header: its values, not read yet, its affine, and the header if it is NIfTI.

    head: what the file begins with, unpacked. Of NIfTI-1 it is enough: listing a dataset of small
    masks took mostly what nibabel.load does besides. Raises BadCaseError if a quaternion places the
    volume that has not length 1.
    """
    if head[344:348] == b"n+1\0":
        header = nibabel.Nifti1Header(head[:348])
    elif head[4:8] == b"n+2\0":
        with _stream(path) as file:
            header = nibabel.Nifti2Header(file.read(540))
    else:
        image = nibabel.load(path)
        if isinstance(image, nibabel.AnalyzeImage) and not isinstance(image, nibabel.Nifti1Pair):
            raise BadCaseError(
                "it is an Analyze file, which does not say where right and left are: save it as "
                "NIfTI",
                path,
                kind="format",
            )
        is_nifti = isinstance(image, nibabel.Nifti1Image)
        return image.dataobj, image.affine, image.header if is_nifti else None
    _round_quaternion(header, path)
    # nibabel goes by the name: of a file that is packed and does not say so, or the other way
    # round, it gets the content.
    is_named_so = _is_gzip(path) == (path.suffix.lower() == ".gz")
    content = path if is_named_so else _stream(path)
    return ArrayProxy(content, header), header.get_best_affine(), header


def _round_quaternion(header: nibabel.Nifti1Header, path: Path) -> None:
    """Give the quaternion of a header length 1 where it was rounded beyond it.

    Programs write digits that are a little off; nibabel refuses them from 2e-7 on. Raises
    BadCaseError if it is far off and nothing else places the volume.
    """
    parts = ["quatern_b", "quatern_c", "quatern_d"]
    length = math.sqrt(sum(float(header[part]) ** 2 for part in parts))
    if length > 1.01 and header["sform_code"] == 0 and header["qform_code"] > 0:
        raise BadCaseError(
            f"its header does not place it: the quaternion of the qform has length {length:.3g}, "
            "1 is right: set the orientation and save it again",
            path,
            kind="format",
        )
    if length > 1:
        for part in parts:
            header[part] = float(header[part]) / length


def _values(proxy: ArrayProxy, packed: bytes) -> np.ndarray:
    """Return a file's values with its scale factors applied.

    packed: the whole of a .gz file. It is inflated in one go, in half the time of nibabel's reading
    in pieces, which would not compare its checksum.
    """
    if not packed:
        return np.asarray(proxy)
    count = math.prod(proxy.shape)
    content = inflate(packed, proxy.offset + count * proxy.dtype.itemsize)
    values = np.frombuffer(content, proxy.dtype, count, proxy.offset)
    return apply_read_scaling(values.reshape(proxy.shape, order="F"), proxy.slope, proxy.inter)


def find_cut(shape: tuple[int, ...], affine: np.ndarray, plane: str, path: Path) -> Cut:
    """Return how to cut slices of a plane: "axial", "coronal", "sagittal" or "stored".

    The affine says which array axis runs along which axis of the body; an oblique one counts as the
    nearest. An array with exactly one axis of length 1 is one image, whatever its plane. "stored"
    takes the axes as (row, column, slice) whatever the affine says.
    Raises BadCaseError for an affine that does not say it.
    """
    if plane == "stored":
        return Cut(slice_axis=2, row_axis=0, column_axis=1, flip_rows=False, flip_columns=False)
    orientation = _orientation(affine)
    if not all(math.isfinite(w) for w, _ in orientation):
        raise BadCaseError(
            "its affine does not place the three axes: set the orientation and save again",
            path,
            kind="format",
        )
    world = [int(w) for w, _ in orientation]
    single = [axis for axis in range(3) if shape[axis] == 1]
    slice_world = world[single[0]] if len(single) == 1 else PLANES[plane][0]
    slice_axis, row_axis, column_axis = next(
        [world.index(w) for w in axes] for axes in PLANES.values() if axes[0] == slice_world
    )
    flips = (orientation[axis][1] > 0 for axis in (row_axis, column_axis))
    return Cut(slice_axis, row_axis, column_axis, *flips)


def _orientation(affine: np.ndarray) -> list[tuple[float, float]]:
    """Return world axis and sign of each array axis, NaN where there is none.

    As nibabel.io_orientation does, which takes its time; at once where no axis is oblique.
    """
    if not math.isfinite(affine.sum()):
        return [(math.nan, math.nan)] * 3
    directions = affine[:3, :3].T.tolist()
    along = [[(w, math.copysign(1, step)) for w, step in enumerate(d) if step] for d in directions]
    if all(len(axis) == 1 for axis in along) and len({axis[0][0] for axis in along}) == 3:
        return [axis[0] for axis in along]
    return nibabel.io_orientation(affine).tolist()


def is_identity(affine: np.ndarray) -> bool:
    """Return whether an affine tells neither direction nor spacing, as after a lost header."""
    return np.allclose(affine[:3, :3], np.eye(3))


def check_same_grid(
    image: Volume, mask: Volume, path: Path, what: str = "mask", shape_only: bool = False
) -> None:
    """Raise BadCaseError unless two volumes have one shape and one grid, within half a voxel.

    what: how the second one is called.
    """
    shape = image.values.shape
    if mask.values.shape != shape:
        raise BadCaseError(
            f"the {what} has {mask.values.shape} voxels, its image {shape}: resample it to its "
            "image",
            path,
            kind="grid",
        )
    if shape_only:
        return
    corners = np.array(
        [
            [i, j, k, 1]
            for i in (0, shape[0] - 1)
            for j in (0, shape[1] - 1)
            for k in (0, shape[2] - 1)
        ]
    )
    apart = np.linalg.norm(corners @ (image.affine - mask.affine).T, axis=1).max()
    if not apart <= 0.5 * nibabel.affines.voxel_sizes(image.affine).min():
        raise BadCaseError(
            f"the {what} lies up to {apart:.1f} mm beside its image: resample it to its image",
            path,
            kind="grid",
        )
