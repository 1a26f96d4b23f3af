"""Real image and mask pairs beside the repository, laid out as `load_folder` wants them.

They are not part of the project: a checkout may lack them, and tests that need them are then
skipped.
"""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pandas as pd
import torch
from PIL import Image

from medsam_utils import PAPER, Dataset, Model, evaluate, load_dataset, load_folder, load_model
from medsam_utils.demo.training_sam import TIGHT_BOX, cell_border_edges
from medsam_utils.intensity import EightBit, Percentile, Window
from medsam_utils.simulation import simulate_clicks

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"

# Sets of volumes, and what shows their tissue; the others are flat images, shown as they are.
VOLUMES = {"mri_spine": Percentile(), "ct_spleen": Window(40, 400), "mri_tumour": Percentile()}
FLAT = (
    *("us_breast", "xray_chest", "ct_liver", "mri_heart"),
    *("xray_hip", "ct_bladder", "mri_myocardium", "petct_sarcoma"),
)
"""The sets whose mean stands for how well a model does on real images."""
CT = "ct_torso"  # a real CT out of a package, measured beside the pairs


def available() -> bool:
    """Tell whether the pairs are there."""
    return (REALDATA / "pairs.csv").is_file()


def pairs(set_name: str | None = None) -> list[dict[str, str]]:
    """Return the lines of pairs.csv, of one set or of all; each with `key`, its name once
    staged."""
    with open(REALDATA / "pairs.csv", newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if set_name in (None, line["set"])]
    for line in lines:
        image, mask = Path(line["image"]), Path(line["mask"])
        name = image.parent.name if image.suffix == ".npy" else image.name.split(".")[0]
        # One image may have masks of several targets: each is a pair of its own.
        several = sum(other["image"] == line["image"] for other in lines) > 1
        line["key"] = f"{name}-{mask.name.split('.')[0]}" if several else name
    return lines


def stage(set_name: str, folder: Path) -> Path:
    """Copy one set to `folder`/images and `folder`/masks, equal names, and return `folder`.

    Files that `load_folder` reads are copied as they are. Masks by a colour rule are written as
    PNG, second masks are united with the first, at the image's size.
    """
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for line in pairs(set_name):
        image, mask = REALDATA / line["image"], REALDATA / line["mask"]
        suffix = "".join(image.suffixes[-2:]) if image.name.endswith(".nii.gz") else image.suffix
        shutil.copyfile(image, folder / "images" / f"{line['key']}{suffix}")
        to = folder / "masks" / line["key"]
        if line["mask_rule"].startswith("tumour: R and G"):
            colours = np.asarray(Image.open(mask).convert("RGB"))
            Image.fromarray((colours[..., :2] > 127).all(axis=2)).save(f"{to}.png")
        elif "union" in line["note"]:
            # The image and its first mask have been resized since, the second mask has not.
            size = Image.open(image).size
            paths = sorted(mask.parent.glob(f"{image.stem}_mask*"))
            masks = [
                Image.open(path).convert("L").resize(size, Image.Resampling.NEAREST)
                for path in paths
            ]
            Image.fromarray((np.array(masks) > 127).any(axis=0)).save(f"{to}.png")
        else:
            shutil.copyfile(mask, f"{to}{suffix if suffix == '.nii.gz' else mask.suffix}")
    return folder


def intensity(set_name: str) -> object:
    """Return the intensity rule that suits a set."""
    return VOLUMES.get(set_name, EightBit())


def sets() -> Mapping[str, int]:
    """Return the sets and how many pairs each has."""
    counts: dict[str, int] = {}
    for line in pairs():
        counts[line["set"]] = counts.get(line["set"], 0) + 1
    return counts


def as_nifti(path: Path, to: Path) -> Path:
    """Convert an NRRD file in LPS space to NIfTI, independently of the project's own reader."""
    values, header = nrrd.read(str(path))
    assert header["space"] == "left-posterior-superior"
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = np.asarray(header["space directions"]).T, header["space origin"]
    nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine).to_filename(to)
    return to


WAYS = {
    "clicks": PAPER,
    "feedback": replace(PAPER, feedback=True),
    "feedback, single later": replace(PAPER, feedback=True, later_mask_choice="single"),
    "box": TIGHT_BOX,
}
"""Ways of asking a model: Algorithm 1, the last mask fed back, and a tight box alone."""


def measure(model: Model, dataset: Dataset, clicks: int = 9) -> tuple[dict[str, float], list[str]]:
    """Return what one model scores on one dataset, and how many objects were left out, and why."""
    found: dict[str, float] = {}
    edges = np.zeros(2, int)
    for way, protocol in WAYS.items():
        lacks_boxes = way == "box" and "boxes" not in model.prompts
        if lacks_boxes or (protocol.feedback and "logits" not in model.prompts):
            continue
        rows = evaluate(dataset, model, protocol, 1 if way == "box" else clicks)
        iou = rows.groupby("click")["iou"].mean()
        if way == "box":
            found["box"] = iou[1]
        else:
            name = "" if way == "clicks" else f" {way}"
            found |= {f"IoU@{n}{name}": iou[n] for n in (1, 3, clicks)}
        if way == "clicks":
            error = (rows["predicted_iou"] - rows["iou"]).abs()
            found |= {"objects": int((rows["click"] == 1).sum()), "calibration": error.mean()}
            excluded = list(rows.attrs["excluded"])
    for case in map(dataset.load, dataset.list().references):
        tasks = {name: name for name in case.masks}
        for n, target in simulate_clicks(case, tasks, model, PAPER, 3):
            if n == 3 and target.logits is not None:
                edges += cell_border_edges(target.logits > 0)
    found["edges on cell borders"] = edges[0] / max(edges[1], 1)
    return found, excluded


def table(model_names: list[str]) -> pd.DataFrame:
    """Scores of every set and of `CT`: of the ways of `WAYS`, and of the eight flat sets together.

    calibration: mean absolute difference of predicted and true IoU over all clicks. edges on cell
    borders: share of the masks' edges after three clicks; a quarter would be chance.
    """
    lines = []
    for model in (load_model(name, device="cpu") for name in model_names):
        for set_name in [*sets(), CT]:
            with tempfile.TemporaryDirectory() as folder:
                if set_name == CT:
                    dataset = load_dataset(CT)
                else:
                    staged = stage(set_name, Path(folder, set_name))
                    dataset = load_folder(staged, intensity=intensity(set_name))
                found, excluded = measure(model, dataset)
            about = {"model": model.name, "weights": model.weights[:12], "set": set_name}
            lines.append(about | found | {"excluded": len(excluded)})
    found = pd.DataFrame(lines)
    flat = found[found["set"].isin(FLAT)].groupby(["model", "weights"], sort=False)
    means = flat.mean(numeric_only=True).reset_index().assign(set="mean of the eight")
    return pd.concat([found, means]).round(3)


if __name__ == "__main__":  # python tests/realdata.py sam_small ritm_small grabcut
    torch.set_num_threads(1)
    print(table(sys.argv[1:]).to_string(index=False))
