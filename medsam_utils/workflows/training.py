"""What training the small networks from nothing and fine-tuning SAM have in common."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn

from ..files import atomic_path


def click_in(
    region: np.ndarray, rng: np.random.Generator, taken: list, reach: int
) -> tuple[int, int]:
    """Choose a (row, col) in a region, bool h x w: its innermost pixel, or, one in four, any.

    taken: clicks of the same round; another one goes elsewhere than within `reach` pixels of them.
    """
    if rng.random() < 0.25:
        return tuple(rng.choice(np.argwhere(region)))
    return innermost(region, taken, reach)


def innermost(region: np.ndarray, taken: Iterable = (), reach: int = 0) -> tuple[int, int]:
    """Return the (row, col) farthest from the boundary of a region, bool h x w.

    taken, reach: as for `click_in`.
    """
    distance = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    for row, col in taken:
        distance[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1] *= (
            0.1
        )
    return np.unravel_index(np.argmax(distance), distance.shape)


def decode(
    sam: Sam,
    embeddings: Tensor,
    points: Tensor,
    labels: Tensor,
    previous: Tensor | None = None,
    boxes: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Decode one object per row, of any images: logits B x 4 x 4h x 4w and predicted IoU B x 4.

    The first mask is SAM's single one, the others are its three candidates.

    embeddings: B x C x h x w. points: B x N x 2, (x, y) in pixels of the encoder's input. labels: B
    x N, 1 positive, 0 negative, -1 no point. previous: logits B x 1 x 4h x 4w. boxes: B x 4,
    (x, y) of the first and the last pixel; with them N may be 0. segment-anything
    decodes the objects of one image at a time; added to the dense prompt, the embeddings of many go
    through one call. Detail that follows the embedding's channels (`models.sam_small`) stays as it
    is.
    """
    with torch.autocast(points.device.type, enabled=False):  # positions need float32
        clicks = (points, labels) if points.shape[1] else None
        sparse, dense = sam.prompt_encoder(points=clicks, boxes=boxes, masks=previous)
        position = sam.prompt_encoder.get_dense_pe()
    embeddings, detail = embeddings.tensor_split([dense.shape[1]], 1)
    image = torch.zeros_like(embeddings[:1])
    if detail.shape[1]:
        image = torch.cat([image.expand_as(embeddings), detail], 1)
    return sam.mask_decoder.predict_masks(image, position, sparse, dense + embeddings)


def load_batches(
    dataset: torch.utils.data.Dataset, start: int, steps: int, batch: int, workers: int
) -> torch.utils.data.DataLoader:
    """Return the batches of steps `start` to `steps` of a series that has steps x batch items.

    workers: processes that make items, 0 for this one.
    """
    cv2.setNumThreads(1)  # else a forked worker waits without end for threads that it lacks
    items = range(start * batch, steps * batch)
    return torch.utils.data.DataLoader(
        dataset, batch, sampler=items, num_workers=workers, drop_last=True
    )


def mixed_precision(device: str, bfloat16: bool) -> contextlib.AbstractContextManager:
    """Return the context in which a network computes in bfloat16, or as it is."""
    if not bfloat16:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


class Training:
    """A network, the running average of its weights, its optimizers, and its checkpoint.

    history: what is noted of each step, a tuple of numbers. average: the weights that are kept in
    the end.
    """

    def __init__(
        self,
        network: nn.Module,
        inner: Callable[[str, Tensor], bool],
        folder: str,
        name: str,
        resume: bool,
    ) -> None:
        """Read the checkpoint if there is one and `resume` is set.

        inner: whether Muon trains a parameter (Jordan et al. 2024), else AdamW does.

        folder: where name_checkpoint.pt and, in float16, name.pt are written; empty: nowhere.
        """
        self.network, self.average = network.train(), copy.deepcopy(network)
        groups = {True: [], False: []}
        for key, parameter in network.named_parameters():
            groups[bool(inner(key, parameter))].append(parameter)
        self.optimizers = [
            torch.optim.Muon(groups[True], weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups[False], weight_decay=0.02),
        ]
        self.folder, self.name, self.start, self.history = folder and Path(folder), name, 0, []
        self.checkpoint = Path(folder, f"{name}_checkpoint.pt")
        if folder and resume and self.checkpoint.exists():
            device = next(network.parameters()).device
            state = torch.load(self.checkpoint, map_location=device, weights_only=True)
            saved = [state["model"], state["average"], *state["optimizers"]]
            for part, part_state in zip(
                (self.network, self.average, *self.optimizers), saved, strict=True
            ):
                part.load_state_dict(part_state)
            self.start = state["step"]

    def steps(
        self,
        loader: Iterable,
        steps: int,
        minutes: float,
        fall: float,
        rate: float,
        save_every: int,
    ) -> Iterator[tuple[int, Any]]:
        """Yield each step's number and batch, and step the optimisers when resumed.

        Whoever asks has called `backward` by then. The rate rises over 200 steps to `rate` (Muon's:
        twice as high) and falls to zero over the last part, `fall`, of all steps or minutes,
        whichever ends first.
        """
        began, step = time.monotonic(), self.start - 1
        for step, drawn in enumerate(loader, self.start):
            remaining = min(1 - step / steps, 1 - (time.monotonic() - began) / (60 * minutes))
            if remaining <= 0:
                step -= 1
                break
            for optimizer, factor in zip(self.optimizers, (2, 1), strict=True):
                optimizer.param_groups[0]["lr"] = (
                    factor * rate * min(1, (step + 1) / 200, remaining / fall)
                )
            yield step, drawn
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.network.zero_grad()
            decay = min(0.997, (1 + step) / (10 + step))
            with torch.no_grad():
                for old, new in zip(
                    self.average.parameters(), self.network.parameters(), strict=True
                ):
                    old.lerp_(new, 1 - decay)
            if (step + 1) % 50 == 0:
                seconds = (time.monotonic() - began) / len(self.history)
                recent = np.mean(self.history[-50:], 0).round(3).tolist()
                print(f"step {step + 1}: {recent}, {seconds:.2f} s a step", flush=True)
            if (step + 1) % save_every == 0:
                self.save(step + 1)
        if step >= self.start:
            self.save(step + 1)

    def save(self, step: int) -> None:
        """Write the checkpoint after so many steps, and the averaged weights in float16."""
        if not self.folder:
            return
        state = {
            "step": step,
            "model": self.network.state_dict(),
            "average": self.average.state_dict(),
        }
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        weights = {key: value.half() for key, value in self.average.state_dict().items()}
        save_tensors(state, self.checkpoint)
        save_tensors(weights, self.folder / f"{self.name}.pt")


def save_tensors(content: Any, path: Path) -> None:
    """Save tensors to a file, whole or not at all; equal tensors give equal bytes."""
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        torch.save(content, file)  # to a path, the name of the unfinished file would be in it
