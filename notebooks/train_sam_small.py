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
# (sam-from-nothing)=
# # A small SAM from nothing
#
# What does it take to train a promptable model without a single real image?

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
folder = "training"  # where sam_small_checkpoint.pt and sam_small.pt are written; empty: nowhere
resume = True  # go on from the checkpoint in the folder if it is there
save_every = 200  # steps between checkpoints
unseen = 40  # drawings, of another seed, on which the result is measured

# %% tags=["hide-input"]
import contextlib
import copy
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display
from torch.nn import functional

from medsam_utils import PAPER, load_model, models, plots
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import command
from medsam_utils.book.pages.runs import given
from medsam_utils.case import Case
from medsam_utils.demo.drawings import Drawings, draw
from medsam_utils.models.sam_small import build_sam_small
from medsam_utils.simulation import simulate
from medsam_utils.workflows.training import Training, click_in, decode

parameters = given(globals())
torch.set_num_threads(threads)
cv2.setNumThreads(1)  # else its threads, which a forked worker lacks, are waited for without end
torch.manual_seed(seed)


# %% tags=["hide-input"]
def drawing_of(seed, number):
    """A drawing, uint8 H x W x 3, and the masks of its objects."""
    image, masks = draw(np.random.default_rng([seed, number]))
    return np.repeat(image[..., None], 3, axis=2), masks


def iou_on_drawings(network, count, clicks=3):
    """Mean IoU after each of Algorithm 1's clicks on drawings that no training has seen; one object
    each."""
    model, values = load_model("sam_small", device=device), []
    model.network = copy.deepcopy(network).eval()
    for i in range(count):
        image, masks = drawing_of(999, i)
        case = Case("drawings", str(i), str(i), None, image, {"object": masks[0]})
        records = simulate(case, {"object": "drawings"}, model, PAPER, clicks)
        values.append([record["iou"] for record in records])
    return np.mean(values, axis=0)


# %% tags=["hide-input"]
untrained = iou_on_drawings(build_sam_small().to(device), unseen)
shipped = iou_on_drawings(load_model("sam_small", device=device).network, unseen)
counts = {
    name: sum(p.numel() for p in part.parameters())
    for name, part in build_sam_small().named_children()
}
page.sentence(
    f"A program that draws is enough for a start: on {unseen} drawings that it never saw, the embedded "
    f"network of {sum(counts.values()) / 1e6:.1f} million parameters has a mean IoU of "
    f"<strong>{shipped[0]:.2f}</strong> with one click and of <strong>{shipped[-1]:.2f}</strong> with "
    f"{len(shipped)}, with random weights {untrained[0]:.2f} and {untrained[-1]:.2f} (demo)"
)

# %% [markdown]
# ## The drawings
#
# The embedded `sam_small` has never seen a medical image, nor any photograph, so what it does on
# medical images is zero-shot, as in the study. It learns from procedural drawings
# (`medsam_utils/drawings.py`): a map of labels, bent by a smooth warp, painted with grey values,
# spoilt as scanners spoil images. No drawing is meant to be an organ; it is their variety that
# counts. Narrower drawings, separate ellipses on plain texture, taught a first network next to
# nothing about real images.

# %% tags=["hide-input"]
shown = []
for i in range(6):
    image, masks = drawing_of(seed, i)
    text = f"{len(masks)} object{'s' * (len(masks) > 1)}"
    shown.append(
        figures.picture(image, text, masks[0], alt=f"Drawing {i} with a contour, ", width=130)
    )
HTML(figures.row(shown))

# %% [markdown]
# ## The network
#
# Prompt encoder and mask decoder are segment-anything's own modules, narrow. The image encoder is
# convolutional, with attention at its coarsest stage alone, for a longest side of 256 pixels. It
# runs in segment-anything's `SamPredictor` like any other SAM.

# %% tags=["hide-input"]
counts["together"] = sum(counts.values())
page.numbers_table(
    pd.DataFrame({"part": counts.keys(), "parameters": [f"{n:,}" for n in counts.values()]})
)

# %% [markdown]
# ## Prompts
#
# Clicks are simulated on the 128 x 128 grid of the mask decoder: at the maximum of the distance
# transform as in Algorithm 1, or in one of four cases anywhere in the region, because people do not
# click the exact middle.


# %%
def add_clicks(points, labels, truths, predictions, count, rng):
    """Add `count` clicks per object to points B x N x 2 (x, y in input pixels) and labels B x N."""
    new_points, new_labels = [], []
    for truth, prediction in zip(truths, predictions, strict=True):
        error = truth ^ prediction
        region = error if error.any() else truth
        taken = []
        for _ in range(count):
            taken.append(click_in(region, rng, taken, reach=8))
        new_points.append(
            [[2 * col + rng.integers(2), 2 * row + rng.integers(2)] for row, col in taken]
        )
        new_labels.append([truth[where] for where in taken])
    new_points = torch.tensor(np.array(new_points), dtype=torch.float32, device=device)
    new_labels = torch.tensor(np.array(new_labels), dtype=torch.float32, device=device)
    return torch.cat([points, new_points], 1), torch.cat([labels, new_labels], 1)


# Clicks added in each round of a step: mostly one or two, now and then many, so that nine are no
# surprise.
ROUNDS = [(1,), (1, 1), (1, 1), (1, 2), (1, 4), (1, 1, 1), (1, 2, 3), (1, 3, 4)]

# %% [markdown]
# ## Loss
#
# With the focal loss of SAM's own training a network of random weights stayed with empty masks, so
# it is cross-entropy here. One click can mean several objects: of the three candidates the best one
# counts most.


# %%
def loss_of(logits, predicted_iou, target, ambiguous):
    """Loss of three candidates B x 3 x h x w against the covered share of each pixel, B x 1 x h x
    w."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum((2, 3)) + target.sum((2, 3)) + 1)
    entropy = functional.binary_cross_entropy_with_logits(
        logits, target.expand_as(logits), reduction="none"
    )
    # Objects are small: their own pixels count once more, or all masks stay empty for hundreds of
    # steps.
    inside = (entropy * target).sum((2, 3)) / target.sum((2, 3))
    per_candidate = dice + 2 * entropy.mean((2, 3)) + 0.3 * inside
    mask, truth = logits > 0, target > 0.5
    true_iou = (mask & truth).sum((2, 3)) / (mask | truth).sum((2, 3)).clamp(min=1)
    mean_weight = 0.2 if ambiguous else 0.4  # several clicks should leave one meaning
    segmentation = per_candidate.min(1).values.mean() + mean_weight * per_candidate.mean()
    return segmentation + 8 * (predicted_iou - true_iou).square().mean(), true_iou


def affinity_loss_of(embeddings, points, target):
    """Loss that makes the embedding alike inside an object and different outside.

    The cell under the first click is compared with all cells by cosine. It is no part of the model:
    without it the decoder draws disks round clicks for thousands of steps before the image begins
    to matter.
    """
    features = functional.normalize(embeddings.float(), dim=1)
    cells = (points[:, 0] / 8).long()
    clicked = features[torch.arange(len(cells)), :, cells[:, 1], cells[:, 0]]
    logits = 10 * (torch.einsum("bchw,bc->bhw", features, clicked) - 0.5)
    inside = functional.avg_pool2d(target, 4)[:, 0]
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * inside).sum((1, 2)) + 1) / (
        (probability + inside).sum((1, 2)) + 1
    )
    return dice.mean() + functional.binary_cross_entropy_with_logits(logits, inside)


# %% [markdown]
# ## Training
#
# Muon trains the matrices inside, AdamW all else, and the running average of the weights is what is
# kept (`medsam_utils/training.py`). Drawings and clicks of a step depend only on the seed and the
# step, so a resumed run does what an uninterrupted one would have done.

# %%
torch.manual_seed(seed)
training = Training(
    build_sam_small().to(device),
    inner=lambda name, p: p.ndim == 2 and "embed" not in name and "token" not in name,
    folder=folder,
    name="sam_small",
    resume=resume,
)
sam = training.network.to(memory_format=torch.channels_last)
loader = torch.utils.data.DataLoader(
    Drawings(seed, objects, steps * batch),
    batch,
    sampler=range(training.start * batch, steps * batch),
    num_workers=workers,
    drop_last=True,
)
mixed = (
    torch.autocast(torch.device(device).type, torch.bfloat16)
    if bfloat16
    else contextlib.nullcontext()
)
for step, drawn in training.steps(loader, steps, minutes, fall, learning_rate, save_every):
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
            loss, true_iou = loss_of(
                logits.float(), predicted_iou.float(), targets, points.shape[1] == 1
            )
            total = total + loss / len(rounds)
            best = predicted_iou.argmax(1, keepdim=True)
            ious.append(true_iou.gather(1, best).mean().item())
            previous = logits[torch.arange(len(best)), best[:, 0]].detach().float()[:, None]
            predictions = (previous[:, 0] > 0).cpu().numpy()
        affinity = affinity_loss_of(embeddings, points, targets)
        total = total + affinity
    total.backward()
    # noted of each step: loss, its affinity part, IoU of the most confident mask, first and last
    # round
    training.history.append((total.item(), affinity.item(), ious[0], ious[-1]))

# %% [markdown]
# ## What came of it

# %% tags=["hide-input"]
made = ", ".join(f"{loss:.2f}" for loss, *_ in training.history[-12:])
text = f"Steps: {training.start} before, {len(training.history)} now; loss of the last: {made}."
trained = iou_on_drawings(training.average, unseen)
of_weights = {"random": untrained, "of this run": trained, "in the repository": shipped}
table = pd.DataFrame(
    of_weights.values(), columns=[f"IoU@{click + 1}" for click in range(len(trained))]
)
table.insert(0, "weights", of_weights.keys())
display(HTML(f"<p>{text}</p>"), page.numbers_table(table))

# %% [markdown]
# The weights in the repository while they were trained: mean IoU on 200 unseen drawings, measured
# when the training was over.

# %% tags=["hide-input"]
log = pd.read_csv(Path(models.__file__).parent / "weights/sam_small.csv")
log = log.melt("steps", ["iou_1", "iou_3"], "line", "iou")
log["line"] = log["line"].map({"iou_1": "1 click", "iou_3": "3 clicks"})


def draw_log(axes, table):
    """Lines against steps."""
    plots.lines(axes, table, ["1 click", "3 clicks"], x="steps")
    axes.set(xlabel="steps", ylabel="IoU", ylim=(0, 1))
    return "; ".join(
        f"With {clicks} "
        + ", ".join(f"{at.iou:.2f} after {at.steps:,}" for at in line.itertuples())
        for clicks, line in table.groupby("line", sort=False)
    )


figures.panels(
    log.assign(of="sam_small"), ["of"], "Line plot of IoU against steps", draw_log, (4.4, 3.2), 380
)

# %% [markdown]
# The weights in the repository come from 6,176 steps of 8 drawings, about four hours on a share of
# two processor cores. The recipe grew on the way: Muon came after 800 steps, the affinity loss
# after 1,500, the present start of the decoder's attention after 1,900, when prompt encoder and
# mask decoder began anew. The learning rate fell to zero from step 2,880 to 3,600, then rose again.
# From step 4,400 thin and faint targets became rarer (`_worth` in the drawings), the previous mask
# was fed back in a quarter of the later rounds, and the predicted IoU weighed twice as much; from
# step 5,000 the learning rate fell to zero. So this notebook trains such a model, not bit for bit
# the same one. `python notebooks/train_sam_small.py` does it with the parameters above; a page of
# the book runs a few steps.
#
# ## Limits
#
# - A drawing is no image of a patient: what the network does on drawings says little about what it
#   does on those. The chapters on datasets tell the latter.
# - Thin structures and very small objects stay its weakness, as they are rare among the drawings.
# - The recipe was changed during training, and no second run tells how much each change was worth.

# %% [markdown]
# ## How this page was made
#
# A page of the book keeps nothing. This command keeps weights and a checkpoint in the folder
# `training`; with no parameters at all it trains to the end.

# %% tags=["hide-input"]
HTML(command("train_sam_small", parameters))
