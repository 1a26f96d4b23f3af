"""How drawn scans become files: DICOM series, structure sets, and segmentations of 3D Slicer.

The files hold no name, date or place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import nrrd
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

SOP_CLASSES = {
    "MR": MRImageStorage,
    "CT": CTImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
    "OT": SecondaryCaptureImageStorage,
    "RTSTRUCT": RTStructureSetStorage,
}


def save_series(
    place: Path,
    names: Sequence[str],
    upright: np.ndarray,
    spacing: tuple[float, float, float],
    uid: str,
    *,
    modality: str = "MR",
    corner: tuple[float, float, float] | None = None,
    description: str = "",
    number: int = 1,
    study: str = "",
    frame: str = "",
    slopes: Sequence[float] | None = None,
    intercept: int = 0,
    tilt: float = 0.0,
    prone: bool = False,
    upwards: bool = True,
) -> list[str]:
    """Save (slice to superior, row to posterior, column to left) as a file per slice; return their
    UIDs.

    names: of the files, in the order of `upright`; corner: centre of the first voxel, mm to the
    left, posterior, superior. tilt: of the slices about the left-right axis, in radians; prone:
    rows and columns stored the other way round; upwards: False writes positions that fall while
    slices rise.
    """
    place.mkdir(parents=True, exist_ok=True)
    count, rows, columns = upright.shape
    corner = corner or middle_corner(upright.shape, spacing)
    along_columns, along_rows = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    normal = np.cross(along_columns, along_rows)
    origin = corner[0] * along_columns + corner[1] * along_rows + corner[2] * normal
    if prone:
        origin = (
            origin
            + (columns - 1) * spacing[2] * along_columns
            + (rows - 1) * spacing[1] * along_rows
        )
        along_columns, along_rows = -along_columns, -along_rows
        upright = upright[:, ::-1, ::-1]
    uids = [generate_uid(entropy_srcs=[uid, str(index)]) for index in range(count)]
    for index, name in enumerate(names):
        position = origin + (index if upwards else -index) * spacing[0] * normal
        dataset = _new(modality, uids[index], study or uid)
        dataset.SeriesInstanceUID = uid
        dataset.FrameOfReferenceUID = frame or generate_uid(entropy_srcs=[study or uid, "frame"])
        dataset.SeriesDescription = description
        dataset.SeriesNumber = number
        # Numbered from the top down, as scanners may: readers have to go by the position.
        dataset.InstanceNumber = count - index
        dataset.ImagePositionPatient = [f"{value:.5f}" for value in position]
        dataset.ImageOrientationPatient = [
            f"{value:.7f}" for value in (*along_columns, *along_rows)
        ]
        dataset.PixelSpacing = [f"{spacing[1]:.5f}", f"{spacing[2]:.5f}"]
        dataset.SliceThickness = f"{spacing[0]:.5f}"
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.Rows, dataset.Columns = rows, columns
        bits = upright.dtype.itemsize * 8
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
        dataset.PixelRepresentation = int(upright.dtype.kind == "i")
        if slopes is not None or intercept:
            dataset.RescaleSlope = f"{1 if slopes is None else slopes[index]:.6g}"
            dataset.RescaleIntercept = intercept
        dataset.PixelData = np.ascontiguousarray(upright[index]).tobytes()
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
        dataset.save_as(place / name, enforce_file_format=True)
    return uids


def save_structures(
    path: Path,
    uid: str,
    study: str,
    frame: str,
    series: str,
    regions: Sequence[tuple[str, Sequence[tuple[np.ndarray, str]]]],
) -> None:
    """Save an RT structure set. regions: name, and its contours (N x 3 points in mm, UID of the
    image)."""
    dataset = _new("RTSTRUCT", uid, study)
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[uid, "series"])
    dataset.StructureSetLabel = "PHANTOM"
    referenced = _item(SeriesInstanceUID=series, ContourImageSequence=[])
    in_study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=study,
        RTReferencedSeriesSequence=[referenced],
    )
    dataset.ReferencedFrameOfReferenceSequence = [
        _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[in_study])
    ]
    dataset.StructureSetROISequence = [
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=frame,
            ROIName=name,
            ROIGenerationAlgorithm="",
        )
        for number, (name, _) in enumerate(regions, 1)
    ]
    dataset.ROIContourSequence = [
        _item(
            ReferencedROINumber=number,
            ContourSequence=[
                _item(
                    ContourImageSequence=[_item(ReferencedSOPInstanceUID=image)],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.4f}" for value in np.ravel(points)],
                )
                for points, image in contours
            ],
        )
        for number, (_, contours) in enumerate(regions, 1)
    ]
    dataset.save_as(path, enforce_file_format=True)


def save_segments(
    path: Path, upright: Sequence[np.ndarray], spacing: tuple, header: Mapping[str, str]
) -> None:
    """Save label maps (slice to superior, row to posterior, column to left) as 3D Slicer does:
    .seg.nrrd.

    One label map gives a file of three axes, several one of four, the first being the layer.
    """
    layers = [np.ascontiguousarray(layer.transpose(2, 1, 0)) for layer in upright]
    values = layers[0] if len(layers) == 1 else np.stack(layers)
    directions = np.diag(spacing[::-1]).tolist()
    content = {
        "space": "left-posterior-superior",
        "space directions": np.array(
            directions if len(layers) == 1 else [[np.nan] * 3, *directions]
        ),
        "space origin": np.array(middle_corner(upright[0].shape, spacing)),
        "kinds": (["list"] if len(layers) > 1 else []) + ["domain"] * 3,
        "encoding": "gzip",
        **header,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), values.astype(np.uint8), content, compression_level=6)
    # Its comments tell the time of writing: the same drawing is to give the same bytes.
    header_text, _, pixels = path.read_bytes().partition(b"\n\n")
    lines = [line for line in header_text.split(b"\n") if not line.startswith(b"#")]
    path.write_bytes(b"\n".join(lines) + b"\n\n" + pixels)


def middle_corner(shape: tuple, spacing: tuple) -> tuple[float, ...]:
    """Return the first voxel's centre (to left, posterior, superior) if the volume's middle is the
    origin."""
    return tuple(-(n - 1) / 2 * step for n, step in zip(shape[::-1], spacing[::-1], strict=True))


def _new(modality: str, uid: str, study: str) -> Dataset:
    """Begin a file: what every DICOM file must say."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = SOP_CLASSES[modality]
    dataset.SOPInstanceUID = uid
    dataset.Modality = modality
    dataset.StudyInstanceUID = study
    dataset.PatientName = dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientID = "PHANTOM"
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = (
        dataset.ReferringPhysicianName
    ) = ""
    return dataset


def _item(**attributes: object) -> Dataset:
    """Return a dataset, for a sequence."""
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item
