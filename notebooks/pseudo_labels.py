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
# (pseudo-labels)=
# # Helping another model: pseudo-labels
#
# A U-Net that learnt from few masks labels the other images itself. Do these labels get better when
# SAM draws them anew, prompted by them, and does a network that learns from them?

# %% tags=["parameters"]
dataset = "us_breast"  # a name of medsam_utils.DATASETS
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # names of medsam_utils.MODELS; the first one draws the labels anew
checkpoint = ""  # weights file to use instead of the registry's
prompt = "clicks"  # what it is told of a label: clicks (its innermost pixel), box_all, ... of prompts.MODES
held_out = 0.4  # share of the patients that are tested on
labelled = 0.4  # share of the other patients whose masks are learnt from
side = 64  # pixels to which the U-Net resizes an image, a multiple of 8
steps = 100  # of the learning of each network
seed = 0  # of the division of patients and of learning
device = ""  # of the model that draws anew: cpu, cuda, cuda:1, mps; empty: the best there is

# %% tags=["hide-input"]
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise

import cv2
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML, display
from torch import nn
from torch.nn import functional

from medsam_utils import PAPER, load_dataset, load_folder, plots
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import command, excluded
from medsam_utils.book.pages.runs import given, load_cases, load_first
from medsam_utils.comparison import compare_ways, score_masks
from medsam_utils.simulation import simulate_clicks
from medsam_utils.statistics import means
from medsam_utils.workflows.fine_tuning import split_by_patient

parameters = given(globals())


# %% tags=["hide-input"]
class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015) of one channel in and out, with group normalisation.

    channels: of each level, from the finest. Takes B x 1 x h x w, h and w multiples of 8, and gives
    logits.
    """

    def __init__(self, channels=(8, 16, 32, 32)):
        super().__init__()
        self.down = nn.ModuleList(self.block(a, b) for a, b in pairwise((1, *channels)))
        self.up = nn.ModuleList(self.block(a + b, a) for a, b in pairwise(channels))
        self.head = nn.Conv2d(channels[0], 1, 1)

    @staticmethod
    def block(inside, out):
        convolutions = (nn.Conv2d(n, out, 3, padding=1) for n in (inside, out))
        return nn.Sequential(
            *(part for c in convolutions for part in (c, nn.GroupNorm(8, out), nn.ReLU()))
        )

    def forward(self, values):
        skipped = [self.down[0](values)]
        for block in self.down[1:]:
            skipped.append(block(functional.max_pool2d(skipped[-1], 2)))
        values = skipped.pop()
        for block in reversed(self.up):
            values = functional.interpolate(values, scale_factor=2, mode="bilinear")
            values = block(torch.cat([skipped.pop(), values], 1))
        return self.head(values)


# %% tags=["hide-input"]
def changed(images, targets):
    """Images and targets, B x 1 x h x w, each turned, flipped, moved, scaled, and made lighter or
    darker."""
    count = len(images)
    angle, scale = 0.6 * (torch.rand(count) - 0.5), 0.85 + 0.3 * torch.rand(count)
    flip = 2.0 * torch.randint(0, 2, (count,)) - 1
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    row, col = 0.3 * (torch.rand(count, 2).T - 0.5)
    matrix = torch.stack([flip * cosine, -sine, row, flip * sine, cosine, col], 1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, images.shape, align_corners=False)
    sample = partial(
        functional.grid_sample, grid=grid, padding_mode="reflection", align_corners=False
    )
    gain, offset = torch.rand(2, count, 1, 1, 1)
    return sample(images) * (0.8 + 0.4 * gain) + 0.2 * (offset - 0.5), sample(targets)


# %% tags=["hide-input"]
def small(values):
    """Float32 H x W as a tensor, 1 x side x side."""
    return torch.from_numpy(cv2.resize(values, (side, side), interpolation=cv2.INTER_AREA))[None]


def grey(case):
    """The case's image in grey, 0..1, at the network's size."""
    return small(np.float32(cv2.cvtColor(case.image, cv2.COLOR_RGB2GRAY)) / 255)


def train(cases, masks):
    """A U-Net that has learnt the masks of the cases' images, from nothing, and the same each time."""
    images = torch.stack([grey(case) for case in cases])
    targets = torch.stack([small(np.float32(mask)) for mask in masks])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet()
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
        for _ in range(steps):
            chosen = torch.randint(len(images), (8,))
            values, target = changed(images[chosen], targets[chosen])
            logits = network(values)
            share = logits.sigmoid()
            dice = (2 * (share * target).sum((1, 2, 3)) + 1) / ((share + target).sum((1, 2, 3)) + 1)
            loss = functional.binary_cross_entropy_with_logits(logits, target) + (1 - dice).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return network.eval()


# %% tags=["hide-input"]
def predict(network, case):
    """The network's mask of a case on the image's own grid."""
    with torch.inference_mode():
        logits = network(grey(case)[None])[0, 0].numpy()
    return cv2.resize(logits, case.image.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 0


def refined(case, mask):
    """The model's mask, prompted from a given mask as if that were the truth; an empty one stays."""
    answers = simulate_clicks(
        replace(case, masks={"given": mask}), {"given": "given"}, model, protocol, 1
    )
    return next((target.prediction.mask() for _, target in answers), mask)


# %% tags=["hide-input"]
subject = load_folder(folder) if folder else load_dataset(dataset, data or None)
class_name, listing = next(iter(subject.classes)), subject.list()
learn, test = split_by_patient(listing.references, held_out, seed)
unlabelled, with_masks = split_by_patient(learn, labelled, seed)
references = {"labelled": with_masks, "unlabelled": unlabelled, "test": test}
cases, left_out = {}, [asdict(exclusion) for exclusion in listing.exclusions]
for part, of_part in references.items():
    cases[part], unusable = load_cases(subject, of_part, class_name)
    left_out += unusable
truths = {part: [case.masks[class_name] for case in of_part] for part, of_part in cases.items()}
model, notes = load_first(models, checkpoint, device)
protocol = replace(PAPER, prompt=prompt)

# %% tags=["hide-input"]
alone = train(cases["labelled"], truths["labelled"])
own = [predict(alone, case) for case in cases["unlabelled"]]
anew = [refined(case, mask) for case, mask in zip(cases["unlabelled"], own, strict=True)]
drawn = {"as the U-Net drew them": own, f"drawn anew by {model.name}": anew}
labels = drawn | {"true masks (oracle)": truths["unlabelled"]}
both = cases["labelled"] + cases["unlabelled"]
networks = {"labelled cases alone": alone}
networks |= {way: train(both, truths["labelled"] + of_way) for way, of_way in labels.items()}
tested = {
    way: [predict(network, case) for case in cases["test"]] for way, network in networks.items()
}

# %% tags=["hide-input"]
rows, tables = {}, {}
for whose, part, masks in (("labels", "unlabelled", drawn), ("networks", "test", tested)):
    ways = {way: [{class_name: mask} for mask in of_way] for way, of_way in masks.items()}
    rows[whose] = score_masks(subject, cases[part], ways)
    tables[whose] = compare_ways(rows[whose], next(iter(ways)), ["task", "level"]).set_index("way")

parts, second = [], list(drawn)[1]
for whose, text in (("labels", "A pseudo-label"), ("networks", "the network on held-out patients")):
    of, first = tables[whose].loc[second], tables[whose]["iou"].iloc[0]
    words = page.change(*of[["difference", "difference low", "difference high"]])
    numbers = f"from {first:.2f} to {of['iou']:.2f}, {of['patients']} patients"
    parts.append(f"{text} {words}, {numbers} ({figures.LEVELS[subject.level]})")
display(page.banner([subject], {model.name: model}, notes), page.sentence(*parts))

# %% [markdown]
# Mean IoU and Dice of each way, with their 95 % intervals:

# %% tags=["hide-input"]
measured = [
    means(of, ["level", "way"], measure)
    .rename(columns={measure: "iou", "way": "task"})
    .assign(whose=whose, line=name)
    for whose, of in rows.items()
    for measure, name in (("iou", "IoU"), ("dice", "Dice"))
]


def draw(axes, table):
    """A point for each way and measure."""
    ways = list(table["task"].unique())
    plots.by_task(axes, table, ways, ["IoU", "Dice"])
    axes.set_xlabel("IoU, Dice")
    wide = table.pivot(index="task", columns="line", values="iou").loc[ways]
    return "; ".join(
        f"{way}: IoU {line.IoU:.2f}, Dice {line.Dice:.2f}" for way, line in wide.iterrows()
    )


figures.panels(
    pd.concat(measured), ["whose", "level"], "Points of IoU and Dice by way", draw, (4.8, 2.4), 380
)

# %% [markdown]
# ## The labels
#
# Of the images whose masks were hidden. The network's mask stands for the truth when the prompt is
# placed, and the model's most confident mask takes its place. Differences are to the network's own
# masks, paired case by case, with 95 % intervals that resample patients.

# %% tags=["hide-input"]
shown = tables["labels"].reset_index().drop(columns="task")
page.numbers_table(page.with_intervals(shown, shown["way"].iloc[0]))

# %% [markdown]
# ## The networks
#
# Each learnt from nothing, for equally many steps: from the labelled cases alone, or from these and
# all other images with one kind of label. The oracle's labels are the true masks, what better
# labels could give at most. All are tested on the same held-out patients, without any prompt.

# %% tags=["hide-input"]
sizes = ", ".join(
    f"{len(of_part)} {part} cases of {len({case.patient_id for case in of_part})} patients"
    for part, of_part in cases.items()
)
display(HTML(f"<p>{sizes}; no patient is in two of these.</p>"))
shown = tables["networks"].reset_index().drop(columns="task")
display(page.numbers_table(page.with_intervals(shown, shown["way"].iloc[0])))
rows["networks"].attrs["excluded"] = left_out
excluded(subject, {model.name: rows["networks"]})

# %% [markdown]
# ## How
#
# This is a round of what the study proposes as help for another model: masks of a segmentation
# model on unlabelled images prompt SAM, and what it answers is learnt from. The U-Net is small and
# sees the image at a reduced size, so that the page takes half a minute.

# %% [markdown]
# ## Limits
#
# - One division of patients and one seed. The intervals hold what the held-out patients let vary,
#   not what another division or another start of the learning would.
# - A label that SAM draws can be another structure than the one meant, and nobody looks at it here.
#   Where the object has several regions, one click gives one of them.
# - The networks are small and learn for few steps. Where even the oracle's labels do not help, this
#   is what holds the network back, and not the labels: take more `steps`.
# - `sam_small` never learned from boxes; for a model that did, try `prompt="box_all"`. What a
#   detector's boxes are worth when they are off is on the page about [prompts](#prompt-modes).

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
HTML(command("pseudo_labels", parameters))
