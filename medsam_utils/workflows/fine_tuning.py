"""A model of one's own: SAM's mask decoder, trained further on a dataset with simulated clicks."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd
import torch
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torchvision.ops import sigmoid_focal_loss

from ..boxed_mask import BoxedMask
from ..case import BadInputError, CaseReference
from ..clicks import PAPER, Click, next_click
from ..comparison import CHANGE, compare_ways
from ..datasets import Dataset
from ..models.checkpoints import load_state_dict
from ..models.fast.bilinear import upsampled_mask
from ..models.sam import Sam
from ..statistics import by_object
from .training import decode


def split_by_patient(
    references: Sequence[CaseReference], held_out: float, seed: int = 0
) -> tuple[list[CaseReference], list[CaseReference]]:
    """Divide cases at random into those to learn from and those held out, by patient.

    held_out: share of the patients, 0..1. Raises BadInputError unless both parts have a patient.
    """
    patients = sorted({reference.patient_id for reference in references})
    count = round(held_out * len(patients))
    if not 0 < count < len(patients):
        raise BadInputError(
            f"{held_out:.0%} of {len(patients)} patients leaves none on one side: hold out another "
            "share, or take a dataset of more patients"
        )
    chosen = set(np.random.default_rng(seed).permutation(patients)[:count].tolist())
    parts = [[r for r in references if (r.patient_id in chosen) == out] for out in (False, True)]
    return parts[0], parts[1]


@dataclass(frozen=True, eq=False)
class Example:
    """One object to learn from.

    pixels: the image at the encoder's size, uint8 h x w x 3. features: the encoder's, 1 x C x h x
    w, float16; the objects of an image share both. target: share of each cell of the low-resolution
    mask that the object covers, float32.
    """

    pixels: np.ndarray
    features: Tensor
    truth: BoxedMask
    target: Tensor


def examples(dataset: Dataset, references: Sequence[CaseReference], model: Sam) -> list[Example]:
    """Return every object of the cases, each image encoded once.

    Memory: 5 MB an image for the released SAM.
    """
    side, found = model.network.image_encoder.img_size, []
    cells = 4 * model.network.prompt_encoder.image_embedding_size[0]
    for case in (case for reference in references for case in dataset.views(reference)):
        pixels = ResizeLongestSide(side).apply_image(case.image)
        rows, cols = (round(n * cells / side) for n in pixels.shape[:2])
        masks = [mask for mask in case.masks.values() if mask.any()]
        features = model.encode(case.image).features.half().cpu() if masks else None
        for mask in masks:
            shrunk = cv2.resize(mask.astype(np.float32), (cols, rows), interpolation=cv2.INTER_AREA)
            target = torch.from_numpy(np.pad(shrunk, ((0, cells - rows), (0, cells - cols))))
            found.append(Example(pixels, features, BoxedMask.from_mask(mask), target))
    return found


def candidate_loss(logits: Tensor, predicted_iou: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of three candidates B x 3 x h x w against targets B x h x w, and their true IoU, B x 3.

    20 parts focal loss, 1 part dice loss and the squared error of the predicted IoU; of the three
    candidates the best one counts (Kirillov et al. 2023, section 3 and appendix A; Lin et al. 2017
    for the focal loss).
    """
    targets = targets[:, None].expand_as(logits)
    focal = sigmoid_focal_loss(logits, targets).mean((2, 3))
    probability = logits.sigmoid()
    overlap, sizes = (probability * targets).sum((2, 3)), (probability + targets).sum((2, 3))
    best = (20 * focal + 1 - (2 * overlap + 1) / (sizes + 1)).min(1).values
    masks, truths = logits > 0, targets > 0.5
    true_iou = (masks & truths).sum((2, 3)) / (masks | truths).sum((2, 3)).clamp(min=1)
    return best.mean() + (predicted_iou - true_iou).square().mean(), true_iou


class LowRank(nn.Module):
    """A matrix plus a product of two thin ones, zero at first (LoRA, Hu 2021, arXiv 2106.09685)."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        """Add to the weight what was learnt."""
        return weight + self.up @ self.down


def fine_tune(
    model: Sam,
    learnt: Sequence[Example],
    steps: int,
    batch: int = 8,
    clicks: int = 3,
    learning_rate: float = 1e-4,
    rank: int = 0,
    seed: int = 0,
) -> tuple[dict[str, Tensor], list[tuple[float, ...]]]:
    """Train SAM's mask decoder further; return its weights, and loss and mean IoUs of each step.

    learnt: objects, of which each step takes `batch` at random. clicks: Algorithm 1's on each,
    their losses averaged; IoUs, and the next click, are those of the mask that the network is most
    sure of. learning_rate: AdamW's, falling to zero. rank: of adapters to the matrices of query,
    key and value in the image encoder, which then encodes anew in every step; 0: it stays as it
    was, as the prompt encoder always does. The model itself stays as it is.
    """
    torch.manual_seed(seed)
    rng, device = np.random.default_rng(seed), model.device
    network = copy.deepcopy(model.network).float().requires_grad_(False)
    network.load_state_dict(
        load_state_dict(model.checkpoint.path())
    )  # not what bfloat16 left of it
    network.mask_decoder.requires_grad_(True)
    attention = [
        m for name, m in network.image_encoder.named_modules() if name.endswith("attn.qkv") and rank
    ]
    for qkv in attention:
        parametrize.register_parametrization(qkv, "weight", LowRank(qkv.weight, rank).to(device))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = []
    for _ in range(steps):
        chosen = [learnt[i] for i in rng.integers(len(learnt), size=batch)]
        if rank:
            pixels = [torch.as_tensor(e.pixels, device=device).permute(2, 0, 1) for e in chosen]
            features = network.image_encoder(torch.stack([network.preprocess(p) for p in pixels]))
        else:
            features = torch.cat([example.features for example in chosen]).to(device).float()
        loss, *ious = _clicked(network, features, chosen, clicks, rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append((loss.item(), *ious))
    for qkv in attention:
        parametrize.remove_parametrizations(qkv, "weight", leave_parametrized=True)
    return network.cpu().state_dict(), history


def _clicked(network, features: Tensor, chosen: Sequence[Example], clicks: int, rng) -> list:
    """Loss of objects that are clicked as Algorithm 1 does, and their mean IoU after each click."""
    side, device = network.image_encoder.img_size, features.device
    targets = torch.stack([example.target for example in chosen]).to(device)
    every, resize = torch.arange(len(chosen)), ResizeLongestSide(side)
    given: list[list[Click]] = [[] for _ in chosen]
    masks: list[BoxedMask | None] = [None] * len(chosen)
    total, ious = torch.zeros((), device=device), []
    for _ in range(clicks):
        for example, mask, made in zip(chosen, masks, given, strict=True):
            click = next_click(example.truth, mask, PAPER, rng)
            made += [click] if click else made[-1:]  # nothing is wrong: the last click again
        points = [  # (x, y) at the encoder's size
            resize.apply_coords(
                np.array([(click.col, click.row) for click in made], float), e.truth.shape
            )
            for e, made in zip(chosen, given, strict=True)
        ]
        points = torch.as_tensor(np.array(points), dtype=torch.float32, device=device)
        labels = torch.tensor(
            [[int(click.positive) for click in made] for made in given], device=device
        )
        answer = decode(network, features, points, labels)
        logits, predicted_iou = (part[:, 1:] for part in answer)
        loss, true_iou = candidate_loss(logits, predicted_iou, targets)
        total = total + loss / clicks
        best = predicted_iou.argmax(1)
        ious.append(true_iou[every, best].mean().item())
        answers = logits.detach()[every, best].cpu().numpy()
        masks = [
            upsampled_mask(answer, side, example.pixels.shape[:2], example.truth.shape)
            for answer, example in zip(answers, chosen, strict=True)
        ]
    return [total, *ious]


def gains(
    before: pd.DataFrame,
    after: pd.DataFrame,
    tasks: Collection[str],
    held_out: Collection[str],
    clicks: Sequence[int],
) -> pd.DataFrame:
    """Return mean IoU before and after fine-tuning, and its paired difference with 95 % intervals.

    before, after: rows of the same objects. tasks: those that were learnt. held_out: their patients
    that were not learnt from. clicks: after which the means are taken. Columns: of ("held out",
    "learnt from" or "elsewhere"), task, level, click, objects, patients, before, after and the
    three of CHANGE.
    """
    parts = []
    for way, rows in (("before", before), ("after", after)):
        parts.append(by_object(rows, clicks).assign(way=way))
    both = pd.concat(parts)
    side = np.where(both["patient_id"].isin(held_out), "held out", "learnt from")
    both["of"] = np.where(both["task"].isin(tasks), side, "elsewhere")
    table = compare_ways(both, "before", ["of", "task", "level", "click"])
    keys = ["of", "task", "level", "click", "objects", "patients"]
    wide = table.pivot(index=keys, columns="way", values="iou")[["before", "after"]].reset_index()
    wide = wide.merge(table.loc[table["way"] == "after", [*keys, *CHANGE]])
    order = {of: i for i, of in enumerate(("held out", "learnt from", "elsewhere"))}
    return wide.sort_values("of", key=lambda of: of.map(order), kind="stable", ignore_index=True)
