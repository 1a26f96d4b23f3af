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
# # Train the small RITM on drawings
#
# The embedded `ritm_small` learns as RITM does (Sofiiuk et al. 2021): it sees the image, all clicks
# so far and its own previous mask, and answers with a better mask. Like `sam_small` it learns from
# procedural drawings alone, and it begins with the convolutional stages that `sam_small` learned
# from them.
#
# The weights in the repository come from 2,129 steps of 4 drawings with 2 views each, about an hour
# on a share of two processor cores; the first stages were those of `sam_small` after 4,400 steps.
# After 800 steps windows became half of the views instead of two thirds, and most of them began
# with a faulty mask, which until then a quarter of all steps did; from about step 1,400 the
# learning rate fell to zero. So this notebook trains such a model, not bit for bit the same one.

# %% tags=["parameters"]
steps = 10_000  # in all, counted from the first
minutes = 600.0  # of this run at most
fall = 0.2  # last part of the steps or minutes, over which the learning rate falls to zero
batch = 4  # drawings per step
objects = 2  # objects per drawing, each in a view of its own
size = 192  # longest side of a view, in pixels
learning_rate = 1e-3  # peak of AdamW's, after a linear rise over 200 steps; Muon's is twice as high
seed = 2  # of weights, drawings and clicks
device = "cpu"  # or "cuda", "mps"
bfloat16 = False  # faster where the processor computes in bfloat16 (AVX512-BF16, AMX, recent GPUs)
threads = 1  # of torch; drawing has processes of its own
workers = 1  # processes that draw; 0 draws in this one
start_from = ""  # weights of a sam_small whose convolutions are the start; empty: random ones
folder = "training"  # where ritm_small_checkpoint.pt and ritm_small.pt are written; empty: nowhere
resume = True  # go on from the checkpoint in the folder if it is there
save_every = 200  # steps between checkpoints

# %%
import contextlib

import cv2
import numpy as np
import torch
from torch.nn import functional

from medsam_utils.demo.drawings import draw
from medsam_utils.models.ritm_network import click_disks
from medsam_utils.models.ritm_small import build_ritm_small
from medsam_utils.workflows.training import Training, click_in

torch.set_num_threads(threads)
torch.manual_seed(seed)

# %% [markdown]
# ## Views
#
# RITM sees the whole image at the first click and then only the surroundings of its own mask,
# enlarged. So a view is the whole drawing, or a window round the object, sometimes one that cuts a
# part of it off.


# %%
def view(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Cut a window out of a drawing: image float32, mask bool, size x size, and whether it is a
    part only."""
    box = np.array([0, 0, *mask.shape], float)
    closer = rng.random() < 0.5
    if closer:
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        half = np.maximum(
            np.array([height, width]) / 2 * np.exp(rng.uniform(-0.1, 0.9)), rng.uniform(20, 40)
        )
        middle = np.array([y + height / 2, x + width / 2]) + rng.uniform(-0.25, 0.25, 2) * half
        box = np.concatenate([middle - half, middle + half]).round().clip(0, [*mask.shape] * 2)
    top, left, bottom, right = box.astype(int)
    scale = size / max(bottom - top, right - left)
    views = []
    for whole in (image, mask):
        part = cv2.resize(
            whole[top:bottom, left:right].astype(np.float32),
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )[:size, :size]
        views.append(np.pad(part, [(0, size - n) for n in part.shape]))
    return views[0] / 255, views[1] > 0.5, closer


class Views(torch.utils.data.Dataset):
    """Item i: images float32 objects x size x size in 0..1, masks, parts or not; it never changes."""

    def __len__(self):
        return steps * batch

    def __getitem__(self, i):
        cv2.setNumThreads(1)
        rng = np.random.default_rng([seed, i])
        while True:
            image, masks = draw(rng)
            chosen = rng.choice(len(masks), objects, replace=len(masks) < objects)
            views = [view(rng, image, masks[k]) for k in chosen]
            if all(mask.sum() > 20 for _, mask, _ in views):
                return tuple(np.stack(part) for part in zip(*views, strict=True))


# %% [markdown]
# ## Clicks and previous masks
#
# Clicks are put where the mask is most wrong, as in Algorithm 1, or sometimes anywhere wrong. Most
# windows begin with a faulty mask instead of none, as if clicks had gone before.


# %%
def add_clicks(points, truths, predictions, count, rng):
    """Add `count` clicks to each object's list of (row, col, positive)."""
    for clicks, truth, prediction in zip(points, truths, predictions, strict=True):
        error = truth ^ prediction
        region, taken = error if error.sum() > 3 else truth, []
        for _ in range(count):
            taken.append(click_in(region, rng, taken, reach=12))
        clicks += [(*where, truth[where]) for where in taken]


def as_tensor(points):
    """B lists of (row, col, positive) to B x 2N x 3: positive ones, then negative ones, -1 where
    absent."""
    listed = np.full((len(points), 2, max(map(len, points)), 3), -1, np.float32)
    for i, clicks in enumerate(points):
        for k, (row, col, positive) in enumerate(clicks):
            listed[i, 0 if positive else 1, k] = row, col, k
    return torch.from_numpy(listed).flatten(1, 2).to(device)


def faulty(truth, rng):
    """Spoil a mask: probability float32 of the same shape, with parts too many, missing and
    displaced."""
    field = sum(
        rng.uniform(0.1, 0.5)
        * cv2.resize(
            rng.standard_normal((n, n), dtype=np.float32),
            truth.shape[::-1],
            interpolation=cv2.INTER_CUBIC,
        )
        for n in rng.integers(4, 16, 2)
    )
    soft = cv2.GaussianBlur(
        truth.astype(np.float32), (0, 0), rng.uniform(1, 12)
    ) + field * rng.uniform(0.2, 1)
    return np.float32(1 / (1 + np.exp(-np.clip(12 * (soft - rng.uniform(0.3, 0.7)), -20, 20))))


ROUNDS = [(1,), (1, 1), (1, 1), (1, 1, 1), (1, 2), (2, 3), (3, 2, 1), (1, 4, 4), (1, 1, 2, 2)]

# %% [markdown]
# ## Loss


# %%
def loss_of(logits, target, disks):
    """Dice and cross-entropy, which counts five times where somebody has clicked: clicks are to be
    obeyed."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    weight = 1 + 4 * disks.amax(1, keepdim=True)
    return (dice + 2 * (entropy * weight).sum((2, 3)) / weight.sum((2, 3))).mean()


# %% [markdown]
# ## Weights

# %%
network = build_ritm_small().to(device)
if start_from:
    prefix = "image_encoder.stages."
    learned = torch.load(start_from, map_location=device, weights_only=True)
    network.stages.load_state_dict(
        {
            key.removeprefix(prefix): value.float()
            for key, value in learned.items()
            if key.startswith(prefix)
        }
    )
training = Training(
    network, inner=lambda name, p: p.ndim == 2, folder=folder, name="ritm_small", resume=resume
)

# %% [markdown]
# ## Training
#
# The rounds of a step are independent of one another, since no gradient goes through a previous
# mask. The last round always counts, the others every second time, which saves their backward pass.

# %%
loader = torch.utils.data.DataLoader(
    Views(),
    batch,
    sampler=range(training.start * batch, steps * batch),
    num_workers=workers,
    drop_last=True,
)
network.to(memory_format=torch.channels_last)
mixed = (
    torch.autocast(torch.device(device).type, torch.bfloat16)
    if bfloat16
    else contextlib.nullcontext()
)
for step, drawn in training.steps(loader, steps, minutes, fall, learning_rate, save_every):
    rng = np.random.default_rng([seed, step, 1])

    images, masks, closer = (part.flatten(0, 1)[:, None] for part in drawn)
    truths, images, targets = (
        masks[:, 0].numpy(),
        images.expand(-1, 3, -1, -1).to(device),
        masks.float().to(device),
    )
    points = [[] for _ in truths]
    previous = np.zeros_like(truths, np.float32)
    for k in np.flatnonzero(closer.numpy() & (rng.random(closer.shape) < 0.6)):
        add_clicks(points[k : k + 1], truths[k : k + 1], previous[k : k + 1] > 0.5, 1, rng)
        previous[k] = faulty(truths[k], rng)
    ious = []
    rounds = ROUNDS[rng.integers(len(ROUNDS))]
    for i, count in enumerate(rounds):
        add_clicks(points, truths, previous > 0.5, count, rng)
        clicks = as_tensor(points)
        seen = torch.cat([images, torch.from_numpy(previous)[:, None].to(device)], 1)
        counts = i == len(rounds) - 1 or rng.random() < 0.5
        with torch.set_grad_enabled(counts):
            with mixed:
                logits = network(seen.contiguous(memory_format=torch.channels_last), clicks).float()
            if counts:
                loss = loss_of(logits, targets, click_disks(clicks, (size, size)))
                loss.backward()
        previous = logits.detach().sigmoid()[:, 0].cpu().numpy()
        prediction = previous > 0.5
        ious.append(((prediction & truths).sum((1, 2)) / (prediction | truths).sum((1, 2))).mean())
    # noted of each step: loss of the last round, IoU after the first and the last round
    training.history.append((loss.item(), ious[0], ious[-1]))
