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
# (through-the-volume)=
# # Through the volume
#
# SAM sees one slice at a time. If its mask of one slice prompts the next, and so on to both ends,
# how many clicks does that save?

# %% tags=["parameters"]
datasets = "mri_prostate mri_heart ct_spleen"  # names of datasets of volumes, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/ of volumes
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # names of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
ways = "mask, box, click, box and click, click and mask"  # what prompts the next slice, with commas
stop = "area"  # where the object is taken to end: never, predicted IoU, area or both
least_iou = 0.5  # a predicted IoU below it ends the object
most_change = 2.0  # a change of area by more than this factor ends the object
rounds = 2  # further rounds of prompts, each in the middle of every gap
clicks = 3  # simulated in each slice that is prompted
protocol = "paper"  # how clicks are simulated: paper or released-code
beyond = 3  # slices looked at past each end of the object
max_volumes = 0  # at most so many of each dataset; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from functools import partial

from IPython.display import display

from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.through_volume import (
    answer,
    both_ways,
    dice_curves,
    how,
    slices,
    ways_table,
)
from medsam_utils.book.runs import load_datasets, run_models
from medsam_utils.workflows.propagation import click_slices, prompted_slices
from medsam_utils.workflows.propagation_evaluation import (
    Plan,
    evaluate_volumes,
    find_volume,
    median_row,
    summary,
)

# %%
subjects = load_datasets(datasets, folder, data, classes, ignore, threshold)
plan = Plan(
    ways=tuple(way.strip() for way in ways.split(",")),
    stop=stop,
    least_iou=least_iou,
    most_change=most_change,
    clicks=clicks,
    rounds=rounds,
    beyond=beyond,
    max_volumes=max_volumes,
)
evaluate = partial(evaluate_volumes, plan=plan)
runs = run_models(
    evaluate, subjects, models, checkpoint, protocol, compute, stand_ins=["sam_small"]
)
rows = runs.rows  # one row per object of a volume, way, stop rule and round
table = summary(rows)

# %% tags=["hide-input"]
display(page.banner(subjects, runs.models, runs.notes), answer(table))

# %% [markdown]
# ## Dice against clicks spent
#
# Dashed: clicks in every slice, once, twice and so on. The others click in the slice where the
# object is largest and carry the mask on; then also in the middle of both halves, then in the
# middle of every gap that is left. Dice is of the whole volume.

# %%
dice_curves(table, stop)

# %% [markdown]
# ## What to carry, and when to stop
#
# *Mask* gives the next slice the last one's low-resolution logits, *box* the box round its mask,
# *click* the pixel that is deepest inside. The object ends where the predicted IoU is low, where
# the area jumps, where either happens, or only where the mask is empty (never). A model with a
# memory, such as SAM 2, also goes on by that (*memory*), and says by itself where the object ends.
# HD95 and the mean surface distance are in mm. Brackets hold 95 % intervals, patients resampled;
# differences are paired, volume by volume.

# %%
ways_table(table)

# %% [markdown]
# ## Per volume or per slice?
#
# The same masks, clicked in every slice that has the object: Dice of the whole volume, and the mean
# Dice of its slices. In the mean, the small slices at both ends count as much as large ones. Any
# rows of volumes can be judged whole: `by_volume(evaluate(..., metrics=("union",)))` of
# `medsam_utils.statistics`.

# %%
both_ways(table)

# %% [markdown]
# ## One volume, slice by slice
#
# The volume of median Dice under the way that does best. Green line: the truth. Red dashes: the
# mask.

# %%
best = table[table["best"]].iloc[0]
median = median_row(rows, best)
subject, model = runs.datasets[median["dataset"]], runs.models[best["model"]]
volume = find_volume(subject, median["volume"], median["task"], beyond)

embeddings = [model.encode(case.image) for case in volume.cases]
(prompted,) = prompted_slices([truth.area for truth in volume.truths], rounds=0)
answers = click_slices(volume, model, embeddings, runs.protocol, clicks)
prompts = {prompted: answers[prompted][-1]}
masks = plan.masks(model, embeddings, prompts, best["way"], best["stop"])

# %%
level = figures.LEVELS[subject.level]
title = f"{volume.task}, {volume.volume}, {model.name}, {how(best['way'])}, {level}"
slices(volume, masks, prompted, title, median["dice"])

# %% [markdown]
# ## How
#
# In a slice that is prompted, Algorithm 1 places its clicks. The mask that SAM is most sure of
# prompts the slices on both sides, whose masks prompt the next, up to the stop rule; between two
# prompted slices each goes half of the way. Slices past the ends take part, so a mask that runs on
# costs Dice.
#
# A model with a memory, as `models = "sam2.1_tiny"` names one, takes the same masks of the same
# clicked slices. It remembers them and the last slices that it has answered, once from the first
# clicked slice to the last slice of the volume, once the other way.

# %% [markdown]
# ## Limits
#
# - The simulated user knows where the object is largest and where it ends.
# - The way that is told is the best of those that were tried, on the same volumes.
# - The memory of SAM 2 was trained on videos, where time goes one way; slices have no direction.

# %% [markdown]
# ## Take-aways
#
# - Compare at equal Dice: fewer clicks are no saving if the mask is worse.
# - A mask that is carried on drifts; a click in the middle of each gap brings it back.
# - Where the object ends must be said by a rule or a person, for SAM does not know.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, "ways": ways, "stop": stop, "least_iou": least_iou}
parameters |= {"most_change": most_change, "rounds": rounds, "clicks": clicks}
parameters |= {"protocol": protocol, "beyond": beyond, "max_volumes": max_volumes}
parameters |= {"compute": compute}
made_by("through_volume", parameters, runs.tables, runs.protocol)
