# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train the small SAM on drawings
#
# The embedded `sam_small` has never seen a medical image, nor any photograph: it learns from procedural
# drawings (`medsam_utils/drawings.py`), so what it does on medical images is zero-shot, as in the study. This
# notebook trains it from nothing, or goes on from a checkpoint; so does
# `python notebooks/train_sam_small.py`.
#
# The weights in the repository come from 6,176 steps of 8 drawings, about four hours on a share of two
# processor cores. The recipe grew on the way: Muon came after 800 steps, the affinity loss after 1,500, the
# present start of the decoder's attention after 1,900, when prompt encoder and mask decoder began anew. The
# learning rate fell to zero from step 2,880 to 3,600, then rose again. From step 4,400 thin and faint targets
# became rarer (`_worth` in the drawings), the previous mask was fed back in a quarter of the later rounds,
# and the predicted IoU weighed twice as much; from step 5,000 the learning rate fell to zero. So this
# notebook trains such a model, not bit for bit the same one.

# %% tags=["parameters"]
steps = 10_000  # in all, counted from the first
minutes = 600.0  # of this run at most
fall = 0.2  # last part of the steps or minutes, over which the learning rate falls to zero
batch = 8  # drawings per step
objects = 2  # objects per drawing
learning_rate = 1e-3  # peak of AdamW's, after a linear rise over 200 steps; Muon's is twice as high
seed = 1  # of weights, drawings and clicks
device = "cpu"  # or "cuda", "mps"
bfloat16 = False  # faster where the processor computes in bfloat16 (AVX512-BF16, AMX, recent GPUs)
threads = 1  # of torch; drawing has processes of its own
workers = 1  # processes that draw; 0 draws in this one
folder = "training"  # where checkpoint.pt and sam_small.pt are written
resume = True  # go on from folder/checkpoint.pt if it is there
save_every = 200  # steps between checkpoints

# %%
import contextlib
import os
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from medsam_utils.drawings import Drawings
from medsam_utils.models.sam_small import build_sam_small

torch.set_num_threads(threads)
torch.manual_seed(seed)
folder = Path(folder)
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Prompts
#
# Clicks are simulated on the 128 x 128 grid of the mask decoder: at the maximum of the distance transform as
# in Algorithm 1, or sometimes anywhere in the region, because people do not click the exact middle.


# %%
def click(region: np.ndarray, rng: np.random.Generator, taken: list) -> tuple[int, int]:
    """Choose a (row, col) in a bool region: its innermost pixel, or in one of four cases a random one."""
    if rng.random() < 0.25:
        return tuple(rng.choice(np.argwhere(region)))
    distance = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    for row, col in taken:  # a second click of the same round goes elsewhere
        distance[max(0, row - 8) : row + 9, max(0, col - 8) : col + 9] *= 0.1
    return np.unravel_index(np.argmax(distance), distance.shape)


def add_clicks(points, labels, truths, predictions, count, rng):
    """Add `count` clicks per object to points B x N x 2 (x, y in input pixels) and labels B x N."""
    new_points, new_labels = [], []
    for truth, prediction in zip(truths, predictions, strict=True):
        error = truth ^ prediction
        region = error if error.any() else truth
        taken = []
        for _ in range(count):
            taken.append(click(region, rng, taken))
        new_points.append([[2 * col + rng.integers(2), 2 * row + rng.integers(2)] for row, col in taken])
        new_labels.append([truth[where] for where in taken])
    new_points = torch.tensor(np.array(new_points), dtype=torch.float32, device=device)
    new_labels = torch.tensor(np.array(new_labels), dtype=torch.float32, device=device)
    return torch.cat([points, new_points], 1), torch.cat([labels, new_labels], 1)


# Clicks added in each round of a step: mostly one or two, now and then many, so that nine are no surprise.
ROUNDS = [(1,), (1, 1), (1, 1), (1, 2), (1, 4), (1, 1, 1), (1, 2, 3), (1, 3, 4)]


# %% [markdown]
# ## Decoding and loss
#
# segment-anything decodes the objects of one image at a time. Added to the dense prompt, the embeddings of
# many images go through one call.


# %%
def decode(sam, embeddings, points, labels, previous=None):
    """Decode one object per row.

    Embeddings B x C x h x w, points B x N x 2 and labels B x N give logits B x 3 x 4h x 4w and IoU B x 3;
    previous logits B x 1 x 4h x 4w may help.
    """
    with torch.autocast(torch.device(device).type, enabled=False):  # positions need float32
        sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=None, masks=previous)
        position = sam.prompt_encoder.get_dense_pe()
    return sam.mask_decoder(
        image_embeddings=torch.zeros_like(embeddings[:1]),
        image_pe=position,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense + embeddings,
        multimask_output=True,
    )


def loss_of(logits, predicted_iou, target, ambiguous):
    """Loss of three candidates B x 3 x h x w against the covered share of each pixel, B x 1 x h x w."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
    # Objects are small: their own pixels count once more, or all masks stay empty for hundreds of steps.
    inside = (entropy * target).sum((2, 3)) / target.sum((2, 3))
    per_candidate = dice + 2 * entropy.mean((2, 3)) + 0.3 * inside
    mask, truth = logits > 0, target > 0.5
    true_iou = (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp(min=1)
    # One click can mean several objects, so the best candidate counts; several clicks should leave one.
    mean_weight = 0.2 if ambiguous else 0.4
    segmentation = per_candidate.min(1).values.mean() + mean_weight * per_candidate.mean()
    return segmentation + 8 * (predicted_iou - true_iou).square().mean(), true_iou


def affinity_loss_of(embeddings, points, target):
    """Loss that makes the embedding alike inside an object and different outside.

    The cell under the first click is compared with all cells by cosine. It is no part of the model: without
    it the decoder draws disks round clicks for thousands of steps before the image begins to matter.
    """
    features = functional.normalize(embeddings.float(), dim=1)
    cells = (points[:, 0] / 8).long()
    clicked = features[torch.arange(len(cells)), :, cells[:, 1], cells[:, 0]]
    logits = 10 * (torch.einsum("bchw,bc->bhw", features, clicked) - 0.5)
    inside = functional.avg_pool2d(target, 4)[:, 0]
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * inside).sum((1, 2)) + 1) / ((probability + inside).sum((1, 2)) + 1)
    return dice.mean() + functional.binary_cross_entropy_with_logits(logits, inside)


# %% [markdown]
# ## Weights, their running average, checkpoints

# %%
sam = build_sam_small().to(device).train()
average = build_sam_small().to(device)
average.load_state_dict(sam.state_dict())
# Muon (Jordan et al. 2024; torch 2.9 and later) for the matrices inside, AdamW for all else.
inner = {
    name for name, p in sam.named_parameters() if p.ndim == 2 and "embed" not in name and "token" not in name
}
groups = [
    [p for name, p in sam.named_parameters() if name in inner],
    [p for name, p in sam.named_parameters() if name not in inner],
]
optimizers = [
    torch.optim.Muon(groups[0], weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
    torch.optim.AdamW(groups[1], weight_decay=0.02),
]
checkpoint = folder / "checkpoint.pt"
start = 0
if resume and checkpoint.exists():
    state = torch.load(checkpoint, map_location=device, weights_only=True)
    sam.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    start = state["step"]


def save(content, path):
    """Write beside the target, then rename: an interruption leaves the old file."""
    torch.save(content, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)


def save_all(step):
    state = {"step": step, "model": sam.state_dict(), "average": average.state_dict()}
    save(state | {"optimizers": [optimizer.state_dict() for optimizer in optimizers]}, checkpoint)
    save({key: value.half() for key, value in average.state_dict().items()}, folder / "sam_small.pt")


def update_average(step):
    decay = min(0.997, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(average.parameters(), sam.parameters(), strict=True):
            old.lerp_(new, 1 - decay)


# %% [markdown]
# ## Training
#
# Drawings and clicks of a step depend only on the seed and the step, so a resumed run does what an
# uninterrupted one would have done.

# %%
drawings = Drawings(seed, objects, steps * batch)
loader = torch.utils.data.DataLoader(
    drawings, batch, sampler=range(start * batch, steps * batch), num_workers=workers, drop_last=True
)
sam.to(memory_format=torch.channels_last)
mixed = torch.autocast(torch.device(device).type, torch.bfloat16) if bfloat16 else contextlib.nullcontext()
began = time.monotonic()
history = []  # (step, loss, its affinity part, IoU of the most confident mask after first and last round)
for step, drawn in enumerate(loader, start):
    remaining = min(1 - step / steps, 1 - (time.monotonic() - began) / (60 * minutes))
    if remaining <= 0:
        break
    rate = learning_rate * min(1, (step + 1) / 200, remaining / fall)
    for optimizer, factor in zip(optimizers, (2, 1), strict=True):
        optimizer.param_groups[0]["lr"] = factor * rate
    rng = np.random.default_rng([seed, step, 1])

    images = drawn["image"].to(device)[:, None].float().expand(-1, 3, -1, -1)
    images = (images - sam.pixel_mean) / sam.pixel_std
    for image, (height, width) in zip(images, drawn["inside"].tolist(), strict=True):
        image[:, height:] = 0  # SAM pads after normalising
        image[:, :, width:] = 0
    targets = functional.avg_pool2d(drawn["masks"].to(device).float().flatten(0, 1)[:, None], 2)
    truths = (targets[:, 0] > 0.5).cpu().numpy()
    truths[~truths.any((1, 2))] = (targets[:, 0] > 0).cpu().numpy()[~truths.any((1, 2))]

    points = torch.zeros(len(truths), 0, 2, device=device)
    labels = torch.zeros(len(truths), 0, device=device)
    predictions, previous = np.zeros_like(truths), None
    total, ious = 0.0, []
    with mixed:
        embeddings = sam.image_encoder(images.contiguous(memory_format=torch.channels_last))
        embeddings = embeddings.repeat_interleave(objects, 0)
        rounds = ROUNDS[rng.integers(len(ROUNDS))]
        for count in rounds:
            points, labels = add_clicks(points, labels, truths, predictions, count, rng)
            previous = previous if rng.random() < 0.25 else None
            logits, predicted_iou = decode(sam, embeddings, points, labels, previous)
            loss, true_iou = loss_of(logits.float(), predicted_iou.float(), targets, points.shape[1] == 1)
            total = total + loss / len(rounds)
            best = predicted_iou.argmax(1, keepdim=True)
            ious.append(true_iou.gather(1, best).mean().item())
            previous = logits[torch.arange(len(best)), best[:, 0]].detach().float()[:, None]
            predictions = (previous[:, 0] > 0).cpu().numpy()
        affinity = affinity_loss_of(embeddings, points, targets)
        total = total + affinity
    sam.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(sam.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    update_average(step)

    history.append((step, total.item(), affinity.item(), ious[0], ious[-1]))
    if (step + 1) % 50 == 0:
        seconds = (time.monotonic() - began) / len(history)
        recent = np.mean(history[-50:], 0)[1:].round(3).tolist()
        print(
            f"step {step + 1}: loss, IoU after the first and the last round {recent}, {seconds:.2f} s a step",
            flush=True,
        )
    if (step + 1) % save_every == 0:
        save_all(step + 1)
if history:
    save_all(history[-1][0] + 1)
