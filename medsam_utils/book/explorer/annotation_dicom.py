"""Annotations of DICOM series as DICOM: segmentations (SEG) and structure sets (RTSTRUCT).

Both name the patient, the study and the images as the series does, so that other programs find
them: mind whom they are handed to.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import contourpy
import numpy as np
import pydicom
from pydicom.dataset import Dataset as Attributes
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from ...case import BadInputError
from ...datasets import Dataset
from ...datasets.dicom import TO_RAS
from .annotation import Placed, into_slices

if TYPE_CHECKING:
    from ...datasets.volume_files import Grid

MAKER = "medsam_utils"
# What a file of masks has in common with its images, as DICOM's patient and study modules say.
_OF_PATIENT_AND_STUDY = [
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID"),
    *("ReferringPhysicianName", "AccessionNumber"),
]


def segmentation(annotations: Sequence[Placed], dataset: Dataset) -> bytes:
    """The masks of one series as a DICOM SEG with a segment for each class.

    Raises BadInputError where highdicom is not installed, or the series lacks what such a file
    must name.
    """
    try:
        import highdicom
        from highdicom.content import AlgorithmIdentificationSequence
        from highdicom.seg import (
            SegmentAlgorithmTypeValues,
            Segmentation,
            SegmentationTypeValues,
            SegmentDescription,
        )
        from pydicom.sr.codedict import codes
    except ImportError as error:
        raise BadInputError(
            f"DICOM SEG needs highdicom ({error}): pip install 'medsam-utils[dicom]'"
        ) from None
    masks, _ = _masks(annotations, dataset)
    images = _images(annotations)
    _check_frame_of_reference(images, annotations)
    algorithm = AlgorithmIdentificationSequence(
        name=" ".join(sorted({one.model for one, _ in annotations}))[:64],
        family=codes.DCM.ArtificialIntelligence,
        version="1",
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, name in enumerate(_texts(masks), start=1)
    ]
    try:
        made = Segmentation(
            source_images=images,
            pixel_array=np.stack(list(masks.values()), axis=-1).astype(np.uint8),
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=generate_uid(),
            series_number=900,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=highdicom.__version__,
            device_serial_number="1",
            series_description="medsam_utils annotation",
        )
    except Exception as error:  # of attributes that are missing or odd; its text may quote them
        raise BadInputError(
            f"{_folder(annotations)}: no DICOM SEG can be made of it ({type(error).__name__}): "
            "choose NIfTI"
        ) from None
    return _bytes(made)


def structures(annotations: Sequence[Placed], dataset: Dataset) -> bytes:
    """The masks of one series as an RTSTRUCT with a region for each class.

    Contours run half way between pixels inside and outside, holes have contours of their own.
    Raises BadInputError where the series lacks what such a file must name.
    """
    masks, grid = _masks(annotations, dataset)
    images = _images(annotations)
    frame = _check_frame_of_reference(images, annotations)
    first = images[0]
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = RTStructureSetStorage, meta.MediaStorageSOPInstanceUID
    made.SpecificCharacterSet = "ISO_IR 192"
    for name in _OF_PATIENT_AND_STUDY:
        setattr(made, name, first.get(name, ""))
    now = datetime.datetime.now()
    made.Modality, made.SeriesInstanceUID, made.SeriesNumber = "RTSTRUCT", generate_uid(), 901
    made.Manufacturer = made.ManufacturerModelName = MAKER
    made.StructureSetLabel = "annotation"
    made.StructureSetDate, made.StructureSetTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    made.ReferencedFrameOfReferenceSequence = [_references(images, frame)]
    made.StructureSetROISequence = [
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=frame,
            ROIName=name,
            ROIGenerationAlgorithm="SEMIAUTOMATIC",
        )
        for number, name in enumerate(_texts(masks), start=1)
    ]
    made.ROIContourSequence = [
        _item(ReferencedROINumber=number, ContourSequence=_contours(mask, grid, images))
        for number, mask in enumerate(masks.values(), start=1)
    ]
    made.RTROIObservationsSequence = [
        _item(
            ObservationNumber=number,
            ReferencedROINumber=number,
            RTROIInterpretedType="",
            ROIInterpreter="",
        )
        for number in range(1, len(masks) + 1)
    ]
    made.ApprovalStatus = "UNAPPROVED"
    return _bytes(made)


def _masks(
    annotations: Sequence[Placed], dataset: Dataset
) -> tuple[Mapping[str, np.ndarray], Grid]:
    """The mask of each class, bool: slice, row, column; objects of a class are united."""
    grid = dataset.reader.grid(annotations[0][1])
    masks = {}
    for name in dict.fromkeys(one.class_name for one, _ in annotations):
        masks[name] = np.zeros(grid.shape, bool)
        members = [(one, reference) for one, reference in annotations if one.class_name == name]
        into_slices(masks[name], grid.cut, members)
    return masks, grid


def _images(annotations: Sequence[Placed]) -> list[pydicom.Dataset]:
    """The files of the series, without their pixels, in the order of the masks' slices.

    What a file must say of patient and study, and may leave empty, is empty where it is missing, as
    it often is in files without names.
    """
    images = []
    for path in annotations[0][1].images:
        image = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for name in set(_OF_PATIENT_AND_STUDY) - {"StudyInstanceUID"}:
            if name not in image:
                setattr(image, name, "")
        images.append(image)
    return images


def _check_frame_of_reference(
    images: Sequence[pydicom.Dataset], annotations: Sequence[Placed]
) -> str:
    """Return the UID of the series' frame of reference; raises BadInputError if it names none."""
    for name in ("FrameOfReferenceUID", "StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not all(image.get(name) for image in images):
            raise BadInputError(
                f"{_folder(annotations)}: its files lack {name}, which a DICOM file of masks must "
                "name: choose NIfTI"
            )
    return str(images[0].FrameOfReferenceUID)


def _references(images: Sequence[pydicom.Dataset], frame: str) -> Attributes:
    """What a structure set says of the series that it was drawn on."""
    files = [
        _item(ReferencedSOPClassUID=i.SOPClassUID, ReferencedSOPInstanceUID=i.SOPInstanceUID)
        for i in images
    ]
    series = _item(SeriesInstanceUID=images[0].SeriesInstanceUID, ContourImageSequence=files)
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=images[0].StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    return _item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])


def _contours(mask: np.ndarray, grid: Grid, images: Sequence[pydicom.Dataset]) -> list[Attributes]:
    """Closed planar contours of a mask, slice by slice, in mm of the patient's coordinates."""
    to_world = TO_RAS @ grid.affine  # the matrix is its own inverse
    contours = []
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        padded = np.pad(mask[index].astype(float), 1)
        for line in contourpy.contour_generator(z=padded).lines(0.5):
            cols, rows = line[:-1].T - 1  # the last point is the first one
            voxels = np.column_stack([np.full(len(rows), index), rows, cols, np.ones(len(rows))])
            points = (voxels @ to_world.T)[:, :3]
            image = _item(
                ReferencedSOPClassUID=images[index].SOPClassUID,
                ReferencedSOPInstanceUID=images[index].SOPInstanceUID,
            )
            contours.append(
                _item(
                    ContourImageSequence=[image],
                    ContourGeometricType="CLOSED_PLANAR",
                    NumberOfContourPoints=len(points),
                    ContourData=[f"{value:.4f}" for value in points.ravel()],
                )
            )
    return contours


def _item(**attributes: Any) -> Attributes:
    """Return attributes as an item of a sequence."""
    item = Attributes()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


def _texts(names: Iterable[str]) -> list[str]:
    """Return names as DICOM's short texts take them: no backslash, at most 64 characters.

    >>> _texts(["a\\\\b", "x" * 65, "x" * 66])[::2]
    ['a/b', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx (3)']
    """
    texts: list[str] = []
    for number, name in enumerate(names, start=1):
        text = name.replace("\\", "/")[:64]
        texts.append(f"{text[:60]} ({number})" if text in texts else text)
    return texts


def _folder(annotations: Sequence[Placed]) -> str:
    return annotations[0][1].images[0].parent.name


def _bytes(made: pydicom.Dataset) -> bytes:
    buffer = io.BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
