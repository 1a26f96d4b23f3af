"""Phantoms of the datasets that come as DICOM: drawn images in the files of the real distribution.

What is drawn is anatomy by formula, see `scans`; how it is saved, see `dicom_files`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from .dicom_files import middle_corner, save_segments, save_series, save_structures
from .scans import DrawnScan, PetPatient, draw_breasts, draw_pet_liver, draw_prostate


def mri_prostate_i2cvb_scans(seed: int = 17) -> dict[str, DrawnScan]:
    """Draw the scans of the mri_prostate_i2cvb phantom, by key; "Siemens/Patient 904" cannot be
    used."""
    plan = {
        "GE/Patient 901": ((12, 128, 128), (4.0, 1.1, 1.1)),
        "GE/Patient 902": ((12, 120, 128), (3.75, 1.15, 1.15)),
        "Siemens/Patient 903": ((14, 128, 120), (3.0, 1.2, 1.2)),
        "Siemens/Patient 904": ((12, 112, 112), (3.5, 1.25, 1.25)),
    }
    return {
        key: draw_prostate(np.random.default_rng([seed, number]), *geometry)
        for number, (key, geometry) in enumerate(plan.items())
    }


def write_mri_prostate_i2cvb(folder: Path, seed: int = 17) -> None:
    """Write I2CVB: images and masks as DICOM, with the awkward ground truths of the real set.

    GE/Patient 902: mask files named and numbered from the other end. Siemens/Patient 903: mask
    positions that fall where the images' rise. Siemens/Patient 904: one mask slice too few.
    """
    for number, (key, scan) in enumerate(mri_prostate_i2cvb_scans(seed).items()):
        place = folder / key
        count = len(scan.image)
        names = [f"Image{index + 1:05d}.dcm" for index in range(count)]
        study = generate_uid(entropy_srcs=["i2cvb", str(seed), key])
        series = generate_uid(entropy_srcs=[study, "t2w"])
        tilt = (0.0, 0.12, 0.0, -0.05)[number]
        save_series(
            place / "T2W",
            names,
            scan.image,
            scan.spacing,
            series,
            study=study,
            description="t2_tse",
            tilt=tilt,
        )
        masks = scan.masks["prostate"].astype(np.uint8) * 255
        kept = slice(0, count - 1) if number == 3 else slice(None)
        save_series(
            place / "GT" / "prostate",
            (names[::-1] if number == 1 else names)[kept],
            masks[kept],
            scan.spacing,
            generate_uid(entropy_srcs=[study, "prostate"]),
            study=study,
            # Of the whole series: without its last slice the mask still begins where the images do.
            corner=middle_corner(scan.image.shape, scan.spacing),
            tilt=tilt,
            upwards=number != 2,
        )


def pet_liver_patients(seed: int = 19) -> dict[str, PetPatient]:
    """Draw the patients of the pet_liver phantom, by key: contours on the CT twice, on the PET
    once."""
    plan = {"Patient_1": (2, "CT"), "Patient_2": (1, "PT"), "Patient_3": (3, "CT")}
    return {
        key: draw_pet_liver(np.random.default_rng([seed, number]), *arguments)
        for number, (key, arguments) in enumerate(plan.items())
    }


def write_pet_liver(folder: Path, seed: int = 19) -> None:
    """Write PET/CT with structure sets: one folder per patient, file names that tell nothing."""
    for number, (key, patient) in enumerate(pet_liver_patients(seed).items()):
        place = folder / key
        study = generate_uid(entropy_srcs=["pet_liver", str(seed), key])
        frame = generate_uid(entropy_srcs=[study, "frame"])
        ct, pet = (generate_uid(entropy_srcs=[study, name]) for name in ("ct", "pet"))
        count = len(patient.ct) + len(patient.pet) + 1
        names = [f"IM{n:04d}" for n in np.random.default_rng([seed, 99, number]).permutation(count)]
        common = {"study": study, "frame": frame}
        ct_uids = save_series(
            place,
            names[: len(patient.ct)],
            # Stored without sign, as most scanners do.
            (patient.ct.astype(np.int32) + 1024).astype(np.uint16),
            patient.ct_spacing,
            ct,
            modality="CT",
            corner=patient.ct_corner,
            description="CT AC",
            intercept=-1024,
            **common,
        )
        pet_uids = save_series(
            place,
            names[len(patient.ct) : -1],
            patient.pet,
            patient.pet_spacing,
            pet,
            modality="PT",
            corner=patient.pet_corner,
            description="PET AC",
            slopes=patient.slopes,
            number=2,
            **common,
        )
        on_ct = patient.drawn_on == "CT"
        spacing, corner = (
            (patient.ct_spacing, patient.ct_corner)
            if on_ct
            else (patient.pet_spacing, patient.pet_corner)
        )
        regions = []
        for name, lesion, core in patient.regions:
            contours = []
            for index, image in enumerate(ct_uids if on_ct else pet_uids):
                z = corner[2] + index * spacing[0]
                for part in filter(None, (lesion, core)):
                    if (outline := part.outline(z)) is not None:
                        contours.append(
                            (np.column_stack([outline, np.full(len(outline), z)]), image)
                        )
            regions.append((name, contours))
        uid = generate_uid(entropy_srcs=[study, "structures"])
        save_structures(place / names[-1], uid, study, frame, ct if on_ct else pet, regions)


def mri_breast_scans(seed: int = 23) -> dict[str, DrawnScan]:
    """Draw the scans of the mri_breast phantom, by key."""
    plan = {
        "Breast_MRI_901": ((12, 104, 136), (7.0, 2.2, 2.2)),
        "Breast_MRI_902": ((13, 112, 136), (6.5, 2.1, 2.1)),
        "Breast_MRI_903": ((12, 104, 128), (7.0, 2.25, 2.25)),
    }
    return {
        key: draw_breasts(np.random.default_rng([seed, number]), *geometry)
        for number, (key, geometry) in enumerate(plan.items())
    }


def write_mri_breast(folder: Path, seed: int = 23) -> None:
    """Write Duke's breast MRI: two series per patient, segmentations of 3D Slicer, the mapping
    table.

    Breast_MRI_902: images stored turned by 180 degrees, label values swapped. Breast_MRI_903: dense
    tissue and vessels in two layers.
    """
    rows = []
    supplement = "Duke-Breast-Cancer-MRI-Supplement-v3"
    for number, (key, scan) in enumerate(mri_breast_scans(seed).items()):
        study = generate_uid(entropy_srcs=["mri_breast", str(seed), key])
        names = [f"1-{index + 1:02d}.dcm" for index in range(len(scan.image))]
        for part, description in (("post_1", "ax dyn 1st pass"), ("pre", "ax dyn pre")):
            uid = generate_uid(entropy_srcs=[study, part])
            brighter = scan.image if part == "pre" else scan.image + scan.image // 4
            save_series(
                folder / "Duke-Breast-Cancer-MRI" / key / study / uid,
                # Named from the top down in one patient.
                names[::-1] if number == 1 else names,
                brighter,
                scan.spacing,
                uid,
                study=study,
                description=description,
                prone=number == 1,
            )
            rows += [
                (
                    f"DICOM_Images/{key}/{part}/{key}_{part}_{index + 1:03d}.dcm",
                    f"Duke-Breast-Cancer-MRI/{key}/{study}/{uid}/{name}",
                    f"Duke-Breast-Cancer-MRI/{key}//MRI/{description}/{name}",
                )
                for index, name in enumerate(names)
            ]
        place = folder / f"PKG - {supplement}" / supplement / "Segmentation_Masks_NRRD" / key
        header = {"Segment0_Name": "Breast", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
        save_segments(
            place / f"Segmentation_{key}_Breast.seg.nrrd",
            [scan.masks["Breast"]],
            scan.spacing,
            header,
        )
        dense, vessels = scan.masks["FGT"], scan.masks["vessels"]
        values = {"Vessels": (1, 2, 1)[number], "Dense": (2, 1, 1)[number]}
        layers = [np.where(dense, values["Dense"], 0), np.where(vessels, values["Vessels"], 0)]
        layered = number == 2
        if not layered:
            layers = [layers[0] + layers[1]]
        header = {}
        for segment, name in enumerate(("Vessels", "Dense")):
            header |= {
                f"Segment{segment}_Name": name,
                f"Segment{segment}_LabelValue": str(values[name]),
                f"Segment{segment}_Layer": str(int(layered and name == "Vessels")),
            }
        save_segments(
            place / f"Segmentation_{key}_Dense_and_Vessels.seg.nrrd", layers, scan.spacing, header
        )
    with (folder / "Breast-Cancer-MRI-filepath_filename-mapping.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["original_path_and_filename", "classic_path", "descriptive_path"])
        writer.writerows(rows)
