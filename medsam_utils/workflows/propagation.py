"""Segmentation of a volume: prompts in few slices, propagated to the others by the masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from ..boxed_mask import BoxedMask
from ..case import BadInputError, Case
from ..clicks import Protocol, next_click
from ..datasets import Dataset
from ..metrics import dice, surface_distances
from ..models import Model
from ..prompts import bounding_box
from ..simulation import simulate_clicks

FEWEST_SLICES = 3  # with the object; in fewer there is hardly anything to propagate
SliceMask = tuple[BoxedMask, np.ndarray]  # a mask and its low-resolution logits


@dataclass(frozen=True)
class Propagation:
    """How the mask of a slice becomes the prompt of the next one, and where the object ends.

    way: parts joined by " and ": "mask" (its logits), "box" (round it), "click" (its deepest
    pixel). The object ends at an empty mask, at a predicted IoU below `least_iou`, and where the
    area changes from one slice to the next by more than the factor `most_change`.
    """

    way: str
    least_iou: float = 0.0
    most_change: float = np.inf

    def prompts(self, mask: BoxedMask, logits: np.ndarray) -> dict[str, Any]:
        """Return the arguments of `Model.predict` for the next slice."""
        parts = self.way.split(" and ")
        if unknown := set(parts) - {"mask", "box", "click"}:
            raise BadInputError(
                f"{unknown.pop()!r} cannot be propagated: join mask, box and click by ' and '"
            )
        deepest = next_click(mask, None, Protocol(ties="first"), np.random.default_rng(0))
        return {
            "clicks": [[deepest] if "click" in parts else []],
            "boxes": bounding_box(mask)[None] if "box" in parts else None,
            "logits": logits[None] if "mask" in parts else None,
        }

    def ends(self, before: BoxedMask, after: BoxedMask, predicted_iou: float) -> bool:
        """Return whether the object has ended; a predicted IoU of NaN ends nothing."""
        small, large = sorted([before.area, after.area])
        return not small or predicted_iou < self.least_iou or large > self.most_change * small


@dataclass(frozen=True, eq=False)
class VolumeObject:
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
        """Return the true mask in every slice."""
        return [BoxedMask.from_mask(case.masks[self.class_name]) for case in self.cases]

    def scores(self, masks: Sequence[BoxedMask]) -> dict[str, float]:
        """Return Dice of the whole volume (0..1), HD95 and mean surface distance (mm).

        masks: the prediction in every slice. slice_dice: the mean Dice of the slices that have the
        object.
        """
        prediction = np.stack(
            [case.scored(mask.mask()) for case, mask in zip(self.cases, masks, strict=True)]
        )
        truth = np.stack([mask.mask() for mask in self.truths])
        hd95, surface = np.nan, np.nan
        if self.voxel:
            hd95, surface = surface_distances(prediction, truth, self.voxel)
        flat = prediction.reshape(len(masks), -1), truth.reshape(len(masks), -1)
        slices = [dice(*pair) for pair in zip(prediction, truth, strict=True) if pair[1].any()]
        scores = {"dice": dice(*flat), "slice_dice": float(np.mean(slices))}
        return {**scores, "hd95": hd95, "surface": surface}


def volume_objects(
    dataset: Dataset, beyond: int = 3, max_volumes: int = 0
) -> Iterator[VolumeObject]:
    """Yield every object that a volume has in at least FEWEST_SLICES slices.

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
        count, apart = dataset.reader.slices(slices[0])
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
                yield VolumeObject(slices[0].volume, name, task, cases, voxel)


def prompted_slices(areas: Sequence[int], rounds: int) -> list[int]:
    """Return the slices to prompt in.

    That is the slice in which the object is largest; then in each round the middle of every gap.
    areas: of the object in every slice. Gaps end where the object does.

    >>> [prompted_slices([0, 3, 5, 9, 7, 5, 4, 2, 0], rounds) for rounds in (0, 1, 2)]
    [[3], [1, 3, 5], [1, 2, 3, 4, 5, 6]]
    >>> prompted_slices([9, 5, 7], 1)
    [0, 1]
    """
    labelled = np.flatnonzero(areas).tolist()
    chosen = [int(np.argmax(areas))]
    for _ in range(rounds):
        gaps = pairwise([labelled[0] - 1, *chosen, labelled[-1] + 1])
        chosen = sorted({*chosen, *(i for a, b in gaps if b - a > 1 and areas[i := (a + b) // 2])})
    return chosen


def click_slices(
    target: VolumeObject, model: Model, embeddings: Sequence[Any], protocol: Protocol, clicks: int
) -> dict[int, list[SliceMask]]:
    """Run Algorithm 1 in every slice that has the object: slice -> its mask after each click."""
    found: dict[int, list[SliceMask]] = {}
    tasks = {target.class_name: target.task}
    for i, (case, embedding) in enumerate(zip(target.cases, embeddings, strict=True)):
        for _, clicked in simulate_clicks(case, tasks, model, protocol, clicks, embedding):
            found.setdefault(i, []).append((clicked.prediction, clicked.logits))
    return found


def propagate(
    model: Model,
    embeddings: Sequence[Any],
    prompted: Mapping[int, SliceMask],
    propagation: Propagation,
) -> list[BoxedMask]:
    """Return the mask of every slice, propagated both ways from the prompted ones.

    prompted: slice -> its mask. Between two of them each reaches half-way. Of several candidates
    the one with the highest predicted IoU counts.
    """
    shape = next(iter(prompted.values()))[0].shape
    masks = [BoxedMask.from_mask(np.zeros(shape, bool))] * len(embeddings)
    for i, start, stop in reaches(prompted, len(embeddings)):
        masks[i] = prompted[i][0]
        for direction in (range(i - 1, start - 1, -1), range(i + 1, stop)):
            mask, logits = prompted[i]
            for k in direction:
                if not mask.area:
                    break
                prediction = model.predict(embeddings[k], **propagation.prompts(mask, logits))
                best = int(prediction.most_confident()[0])
                after = prediction.boxed_mask(0, best)
                if propagation.ends(mask, after, prediction.predicted_iou[0, best]):
                    break
                masks[k] = mask = after
                logits = prediction.logits[0, best]
    return masks


def reaches(prompted: Collection[int], count: int) -> Iterator[tuple[int, int, int]]:
    """Yield each prompted slice with the first slice that it reaches, and the one after the last.

    Between two of them each reaches half-way. count: of all slices.

    >>> list(reaches([2, 5], 9))
    [(2, 0, 4), (5, 4, 9)]
    """
    places = sorted(prompted)
    halves = [(a + b + 1) // 2 for a, b in pairwise(places)]
    yield from zip(places, [0, *halves], [*halves, count], strict=True)


def propagate_by_memory(
    model: Model, embeddings: Sequence[Any], prompted: Mapping[int, SliceMask]
) -> list[BoxedMask]:
    """Return the mask of every slice, as a model that `tracks` remembers the prompted ones.

    prompted: slice -> its mask, which stays. All of them are known both ways, from the first one
    to the last slice and from the last one to the first slice; between two of them each way counts
    up to the middle.
    """
    shape = next(iter(prompted.values()))[0].shape
    masks = [BoxedMask.from_mask(np.zeros(shape, bool))] * len(embeddings)
    known = {i: mask for i, (mask, _) in prompted.items() if mask.area}
    if not known:
        return masks
    onwards, back = (model.track(embeddings, known, reverse) for reverse in (False, True))
    for i, start, stop in reaches(prompted, len(embeddings)):
        masks[start:stop] = [*back[start:i], prompted[i][0], *onwards[i + 1 : stop]]
    return masks
