"""Through the volume: prompts in few of its slices, carried to the others by the masks that they
gave."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import KDTree

from ..boxed_mask import BoxedMask
from ..case import BadInputError, Case
from ..clicks import Protocol, next_click
from ..datasets import Dataset
from ..metrics import dice
from ..models import Model
from ..prompts import box_round
from ..simulation import turns

FEWEST_SLICES = 3  # with the object; in fewer there is hardly anything to carry
Answer = tuple[BoxedMask, np.ndarray]  # a mask and its low-resolution logits


@dataclass(frozen=True)
class Carry:
    """How the mask of a slice becomes the prompt of the next one, and where the object is taken to
    end.

    way: parts joined by " and ": "mask" (its logits), "box" (round it), "click" (its deepest
    pixel). It ends at an empty mask, at a predicted IoU below `least_iou`, and where the area
    changes from one slice to the next by more than the factor `most_change`.
    """

    way: str
    least_iou: float = 0.0
    most_change: float = np.inf

    def prompts(self, mask: BoxedMask, logits: np.ndarray) -> dict[str, Any]:
        """Arguments of `Model.predict` for the next slice."""
        parts = self.way.split(" and ")
        if unknown := set(parts) - {"mask", "box", "click"}:
            raise BadInputError(
                f"{unknown.pop()!r} cannot be carried: join mask, box and click by ' and '"
            )
        deepest = next_click(mask, None, Protocol(ties="first"), np.random.default_rng(0))
        return {
            "clicks": [[deepest] if "click" in parts else []],
            "boxes": box_round(mask)[None] if "box" in parts else None,
            "logits": logits[None] if "mask" in parts else None,
        }

    def ends(self, before: BoxedMask, after: BoxedMask, predicted_iou: float) -> bool:
        """Whether the object has ended; a model that predicts no IoU (NaN) ends nothing by it."""
        small, large = sorted([before.area, after.area])
        return not small or predicted_iou < self.least_iou or large > self.most_change * small


@dataclass(frozen=True, eq=False)
class Stack:
    """One object in the slices of a volume, in their order, with some beyond its two ends.

    voxel: mm along (slice, row, col), None if the files do not tell.
    """

    volume: str
    class_name: str
    task: str
    cases: Sequence[Case]
    voxel: tuple[float, float, float] | None

    @property
    def truths(self) -> list[BoxedMask]:
        """True mask in every slice."""
        return [BoxedMask.of(case.masks[self.class_name]) for case in self.cases]

    def scores(self, masks: Sequence[BoxedMask]) -> dict[str, float]:
        """Dice of the whole volume (0..1), HD95 and mean surface distance (mm) of a mask for every
        slice."""
        prediction, truth = (np.stack([mask.mask() for mask in of]) for of in (masks, self.truths))
        hd95, surface = (
            surface_distances(prediction, truth, self.voxel) if self.voxel else (np.nan, np.nan)
        )
        flat = (volume.reshape(len(masks), -1) for volume in (prediction, truth))
        return {"dice": dice(*flat), "hd95": hd95, "surface": surface}


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, voxel: tuple[float, float, float]
) -> tuple[float, float]:
    """95th percentile Hausdorff distance, and mean surface distance, both symmetric and in mm.

    prediction, truth: bool, slices x rows x cols. voxel: mm along these axes. Surface is every
    voxel of a mask with one outside among its six neighbours; beyond the volume is outside. From
    each voxel of one surface the way to the nearest of the other is measured, in both directions:
    HD95 is the larger of the two 95th percentiles, the other number the mean of all (Taha and
    Hanbury, BMC Medical Imaging 15 (2015) 29). NaN if a mask is empty: nothing is then near or far.
    """
    surfaces = [
        KDTree(np.argwhere(mask & ~binary_erosion(mask)) * voxel) for mask in (prediction, truth)
    ]
    if not all(surface.n for surface in surfaces):
        return float("nan"), float("nan")
    ways = [to.query(of.data)[0] for of, to in (surfaces, surfaces[::-1])]
    return float(max(np.percentile(way, 95) for way in ways)), float(np.concatenate(ways).mean())


def stacks(dataset: Dataset, beyond: int = 3, max_volumes: int = 0) -> Iterator[Stack]:
    """Every object that a volume has in at least FEWEST_SLICES slices.

    beyond: slices that are read past each end of the object. max_volumes: 0 for all.
    Raises BadInputError if there is none.
    """
    by_volume = groupby(dataset.list().references, key=lambda r: (r.patient_id, r.images, r.masks))
    volumes = [slices for _, group in by_volume if len(slices := list(group)) >= FEWEST_SLICES]
    if not volumes:
        raise BadInputError(
            f"{dataset.root}: no volume of {dataset.name} has {FEWEST_SLICES} labelled slices: "
            "take a dataset of volumes, such as mri_prostate"
        )
    for slices in volumes[: max_volumes or None]:
        count, apart = dataset.reader.slices(dataset, slices[0])
        listed = {reference.slice_index: reference for reference in slices}
        wanted = range(max(min(listed) - beyond, 0), min(max(listed) + beyond + 1, count))
        references = [
            listed.get(i) or dataclasses.replace(slices[0], slice_index=i) for i in wanted
        ]
        for name, task in dataset.tasks.items():
            cases = [dataset.load(reference, name) for reference in references]
            cases = [dataclasses.replace(case, masks={name: case.masks[name]}) for case in cases]
            if sum(case.masks[name].any() for case in cases) >= FEWEST_SLICES:
                voxel = (apart, *cases[0].spacing) if apart and cases[0].spacing else None
                yield Stack(slices[0].case_id.rpartition("_z")[0], name, task, cases, voxel)


def starts(areas: Sequence[int], rounds: int) -> list[int]:
    """Slices to prompt in: the one where the object is largest, then in each round the middle of
    every gap.

    areas: of the object in every slice. Gaps end where the object does.

    >>> [starts([0, 3, 5, 9, 7, 5, 4, 2, 0], rounds) for rounds in (0, 1, 2)]
    [[3], [1, 3, 5], [1, 2, 3, 4, 5, 6]]
    >>> starts([9, 5, 7], 1)
    [0, 1]
    """
    labelled = np.flatnonzero(areas).tolist()
    chosen = [int(np.argmax(areas))]
    for _ in range(rounds):
        gaps = pairwise([labelled[0] - 1, *chosen, labelled[-1] + 1])
        chosen = sorted({*chosen, *(i for a, b in gaps if b - a > 1 and areas[i := (a + b) // 2])})
    return chosen


def clicked(
    stack: Stack, model: Model, embeddings: Sequence[Any], protocol: Protocol, clicks: int
) -> dict[int, list[Answer]]:
    """Algorithm 1 in every slice that has the object: slice -> the answer after each click."""
    answers: dict[int, list[Answer]] = {}
    for i, (case, embedding) in enumerate(zip(stack.cases, embeddings, strict=True)):
        tasks = {stack.class_name: stack.task}
        for _, target in turns(case, tasks, model, protocol, clicks, embedding):
            answers.setdefault(i, []).append((target.prediction, target.logits))
    return answers


def carried(
    model: Model, embeddings: Sequence[Any], given: Mapping[int, Answer], carry: Carry
) -> list[BoxedMask]:
    """Mask of every slice, from the answers in some: each is carried both ways, half-way to the
    next one.

    The candidate that the model is most sure of counts.
    """
    shape = next(iter(given.values()))[0].shape
    masks = [BoxedMask.of(np.zeros(shape, bool))] * len(embeddings)
    halves = [(a + b + 1) // 2 for a, b in pairwise(sorted(given))]
    for i, start, stop in zip(sorted(given), [0, *halves], [*halves, len(embeddings)], strict=True):
        masks[i] = given[i][0]
        for way in (range(i - 1, start - 1, -1), range(i + 1, stop)):
            mask, logits = given[i]
            for k in way:
                if not mask.area:
                    break
                prediction = model.predict(embeddings[k], **carry.prompts(mask, logits))
                best = int(prediction.most_confident()[0])
                after = prediction.boxed_mask(0, best)
                if carry.ends(mask, after, prediction.predicted_iou[0, best]):
                    break
                masks[k] = mask = after
                logits = prediction.logits[0, best]
    return masks
