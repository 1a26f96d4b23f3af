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
# (prompt-modes)=
# # A point, several points, a box
#
# Which prompt is worth most: one point, a point in each region, or a box? And what do clicks add to
# a box?

# %% tags=["parameters"]
datasets = "us_breast xray_chest mri_spine"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS that take boxes, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
clicks = 3  # prompts given in turn, where clicks follow the first one
noise = "0.05 0.1 0.2 0.3 0.5"  # standard deviations of a box's sides, as shares of its height and width
max_cases = 6  # at most so many cases of each dataset, spread evenly; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
workers = "auto"  # processes to compute on; auto: what the machine has room for; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from dataclasses import replace
from html import escape
from itertools import product

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from medsam_utils import PAPER, plots, published
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import datasets_of, evaluate_subjects, given
from medsam_utils.comparison import compare_ways
from medsam_utils.confidence import mask_choices
from medsam_utils.models import WITHOUT_BOXES
from medsam_utils.prompts import MODES, PUBLISHED
from medsam_utils.simulation import simulate_clicks
from medsam_utils.statistics import by_object, mean_curves

parameters = given(globals())

# %% tags=["hide-input"]
subjects = datasets_of(datasets, folder, data)
computed_with = [
    "checkpoint",
    "max_cases",
    "device",
    "dtype",
    "embeddings",
    "workers",
    "scheduler",
    "store",
]
computing = {k: v for k, v in parameters.items() if k in computed_with}
titles = {
    "clicks": "1 point, deepest in the object",
    "point_largest": "1 point, largest region",
    "points_3_largest": "a point in each of 3 regions",
    "box_largest": "box round the largest region",
    "boxes_3_largest": "box round each of 3 regions",
    "box_all": "one box round everything",
}


def run(turns=1, **fields):
    return evaluate_subjects(
        subjects, models, protocol=replace(PAPER, **fields), clicks=turns, **computing
    )


modes = {mode: run(prompt=mode) for mode in MODES}
first = modes["clicks"]

# %% tags=["hide-input"]
study = published.prompt_mode_table().rename(columns={"mask_choice": "choice"})
study = study.assign(mode=study["mode"].map(PUBLISHED), model="SAM", level="published")
found = pd.concat([mask_choices(one.rows).assign(mode=mode) for mode, one in modes.items()])
found = pd.concat([study, found])
keys = ["level", "model", "mode", "choice"]
table = (
    found.groupby(keys, sort=False)
    .agg(iou=("iou", "mean"), tasks=("task", "nunique"))
    .reset_index()
)

counted = np.where(
    table["level"] == "published", "first", "most_confident"
)  # the choice that stands for each
parts = []
for (level, model), of in table[table["choice"] == counted].groupby(["level", "model"], sort=False):
    ious = of.set_index("mode")["iou"].reindex(PUBLISHED.values()).dropna()
    never = ", never trained with boxes" if model.startswith(WITHOUT_BOXES) else ""
    parts.append(
        f"<strong>{escape(model)}</strong> does best with <strong>{titles[ious.idxmax()]}</strong> (mean IoU "
        f"<strong>{ious.max():.2f}</strong>) and worst with {titles[ious.idxmin()]} ({ious.min():.2f}) over "
        f"{page.plural(of['tasks'].iloc[0], 'task')} ({figures.LEVELS[level]}{never})"
    )
notes = list(dict.fromkeys(note for one in modes.values() for note in one.notes))
display(page.banner(subjects, first.models, notes), page.sentence(*parts))

# %% [markdown]
# ## Five modes, three choices
#
# The study's figure of five modes from its released numbers: hollow points, of another model on
# other images. Filled points are this run's. *First* takes the first of the three masks, *most
# confident* the one with the highest predicted IoU, and *oracle* the best one, chosen with the
# truth in hand. Every task weighs the same.


# %% tags=["hide-input"]
def draw(axes, means):
    """A point for each mode and choice; hollow for the study's."""
    names, shown = (
        list(means["choice"].unique()),
        [mode for mode in titles if mode in set(means["mode"])],
    )
    points = means.rename(columns={"mode": "task", "choice": "line"}).assign(
        low=np.nan, high=np.nan
    )
    plots.by_task(axes, points, shown, names, hollow=means["level"].iloc[0] == "published")
    axes.set_yticklabels([titles[mode] for mode in shown])
    wide = means.pivot(index="mode", columns="choice", values="iou").loc[shown, names]
    return "; ".join(
        f"{titles[mode]} "
        + ", ".join(f"{iou:.2f} ({name.replace('_', ' ')})" for name, iou in line.items())
        for mode, line in wide.iterrows()
    )


counts = table["tasks"].map(lambda count: page.plural(count, "task"))
shown = table.assign(model=table["model"] + ", " + counts)
figures.panels(
    shown, ["model", "level"], "Points of mean IoU for each prompt mode", draw, (4.6, 3), 380
)

# %% [markdown]
# The object of the first dataset that has the most regions: green what the model is told and the
# truth, red dashes what it answers.

# %% tags=["hide-input"]
rows = first.dataset_rows(subjects[0].name)[next(iter(first.models))]
case_id, task = rows.sort_values("components", kind="stable").iloc[-1][["case_id", "task"]]
name = subjects[0].task_classes[task]
case, model = subjects[0].load(case_id, name), next(iter(first.models.values()))
alone, pictures = replace(case, masks={name: case.masks[name]}), []
for mode, one in modes.items():
    _, target = next(simulate_clicks(alone, {name: task}, model, one.protocol, 1))
    clicks_made = [click for prompt in target.prompts for click in prompt.clicks]
    drawing, axes = plots.new_picture(case.image)
    plots.example(axes, case.image, case.masks[name], target.prediction.mask(), clicks_made)
    for top, left, bottom, right in (
        prompt.box for prompt in target.prompts if prompt.box is not None
    ):
        axes.plot(
            [left, right, right, left, left], [top, top, bottom, bottom, top], color=plots.TRUTH
        )
    caption = f"{titles[mode]}: IoU {target.scores['iou']:.2f}"
    pictures.append(figures.figure(plots.svg(drawing, f"{case_id}, {caption}"), caption, 200))
HTML(figures.row(pictures))

# %% [markdown]
# ## In pairs
#
# Each mode's IoU minus that of one point in the largest region, object by object, with 95 %
# intervals (patients resampled). Objects of a single region have the same box in all three modes of
# boxes.


# %% tags=["hide-input"]
def differences(runs, base):
    """IoU of each mode minus that of `base`, per task and model."""
    objects = pd.concat(
        [by_object(one.rows, (1, 3, 9)).assign(mode=mode) for mode, one in runs.items()]
    )
    table = compare_ways(objects, base, ["task", "model", "level", "click"], way="mode")
    return page.differences_table(table[table["mode"] != base], "mode")


differences(modes, "point_largest")

# %% [markdown]
# ## The gate
#
# Where the run is of the study's model (`sam_vit_h`) on real images, each value is held against the
# published one. Demo runs are compared with nothing.

# %% tags=["hide-input"]
study = study.rename(columns={"model": "method"}).assign(click=1)
tables = []
for mode, choice in product(PUBLISHED.values(), ("first", "oracle")):
    rows, values = modes[mode].rows, study[(study["mode"] == mode) & (study["choice"] == choice)]
    candidates = rows.filter(regex=r"^iou_\d$")
    chosen = candidates["iou_0"] if choice == "first" else candidates.max(axis=1)
    held = published.gate(rows.assign(iou=chosen), values[["method", "task", "click", "iou"]])
    tables.append(held.drop(columns="click").assign(mode=mode, choice=choice))
held = pd.concat(tables)
HTML(page.folded(held[["mode", "choice", *held.columns.drop(["mode", "choice"])]]))

# %% [markdown]
# ## A box first, then clicks; and the mask fed back
#
# What comes first counts as click 1: a click, or a box round the whole object. Every further click
# goes to the deepest pixel of the error, as in [Algorithm 1](#the-protocol), and the box is given
# again with it.
# *Fed back*: the model also receives the low-resolution logits of the mask that is being corrected.

# %% tags=["hide-input"]
ways = {
    "clicks": run(clicks),
    "clicks, mask fed back": run(clicks, feedback=True),
    "box, then clicks": run(clicks, prompt="box_all"),
    "box, then clicks, mask fed back": run(clicks, prompt="box_all", feedback=True),
}
curves = pd.concat(
    [mean_curves(one.rows).assign(line=name) for name, one in ways.items() if one.tables]
)
curves = curves.groupby(["level", "model", "line", "click"], sort=False)["iou"].mean().reset_index()


def draw(axes, table):
    """A line for each way to begin and to go on."""
    plots.lines(axes, table, list(ways))
    last = table["click"].max()
    return f"From 1 to {last}: {figures.ends(table[table['click'].isin([1, last])])}"


figures.panels(curves, ["model", "level"], "Line plot of mean IoU against clicks", draw)

# %% tags=["hide-input"]
differences(ways, "clicks")

# %% [markdown]
# ## A box that is off
#
# Nobody draws a perfect box. Here each of its sides is moved by normal noise, drawn once per
# object; SAM was trained with a standard deviation of 0.1. Mean over the tasks, every task weighing
# the same; and below it the IoU with the noisy box minus the IoU with the tight one.

# %% tags=["hide-input"]
noisy = {f"noise {sd}": run(prompt="box_all", box_noise=float(sd)) for sd in noise.split()}
boxes = {"noise 0": modes["box_all"], **noisy}
curves = pd.concat(
    [mean_curves(one.rows).assign(sd=float(name.split()[1])) for name, one in boxes.items()]
)
curves = curves.groupby(["level", "model", "sd"], sort=False)["iou"].mean().reset_index()


def draw(axes, table):
    """A line for each model."""
    plots.lines(axes, table.assign(line=table["model"]), list(table["model"].unique()), x="sd")
    axes.set(
        ylim=(0, 1), xlabel="standard deviation of a side, as a share of the box", ylabel="IoU"
    )
    return f"From a tight box to noise of {table['sd'].max():g}: {figures.ends(table, 'model')}"


figures.panels(curves, ["level"], "Line plot of mean IoU against box noise", draw, (4.2, 3.2), 380)

# %% tags=["hide-input"]
differences(boxes, "noise 0")

# %% [markdown]
# ## How
#
# Regions are connected also by corners, the largest first. A point is the deepest pixel of its
# region, a box the smallest that holds its region. Points in several regions go into one question;
# boxes round several regions are asked one by one, and the masks of equal rank are united before
# one is chosen. The rows lie in the same store as those of the datasets' own chapters, each mode
# under a protocol of its own.

# %% [markdown]
# ## Limits
#
# - The embedded `sam_small` never saw a box in its training: the two vectors that mark the corners
#   of a box are untrained. Its numbers with boxes show that the loop works, and nothing of what
#   boxes are worth. It did learn from clicks and from its own mask fed back. GrabCut was made for
#   boxes, but takes no mask.
# - All prompts are made from the truth. A person's point or box is less exact, and a box costs more
#   effort than a click, although both count as one here.
# - The released code draws its points with an approximate distance and one global generator, ours
#   with the exact one and a seed for each object, so single points differ.
# - The oracle needs the truth: no one can use it, it says what a better choice among the masks
#   could gain.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
runs = {**modes, **ways, **noisy}
tables = {(*key, name): rows for name, one in runs.items() for key, rows in one.tables.items()}
made_by("prompt_modes", parameters, tables, first.protocol)
