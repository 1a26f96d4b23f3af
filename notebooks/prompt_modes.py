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
# # Points or boxes?
#
# Which prompt is worth most: one point, a point in each region, or a box? And what do clicks add to
# a box?

# %% tags=["parameters"]
datasets = "us_breast xray_chest mri_spine"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS that take boxes, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
clicks = 3  # prompts given in turn, where clicks follow the first one
noise = "0.05 0.1 0.2 0.3 0.5"  # standard deviations of a box's sides, as shares of its size
medsam = ""  # weights file of MedSAM: adds a part on its own preprocessing; empty: none
max_cases = 6  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from dataclasses import replace

import pandas as pd
from IPython.display import display

from medsam_utils import PAPER, plots
from medsam_utils.book import show
from medsam_utils.book.pages import figures, page, prompt_modes
from medsam_utils.book.pages import medsam as medsam_page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.comparison import run_differences
from medsam_utils.confidence import mask_choices
from medsam_utils.prompts import MODES
from medsam_utils.statistics import mean_curves

# %%
subjects = load_datasets(datasets, folder, data, classes, ignore, threshold)


def run(turns=1, **fields):
    """Evaluate under Algorithm 1 with some fields of the protocol changed."""
    protocol = replace(PAPER, **fields)
    return evaluate_models(subjects, models, checkpoint, protocol, turns, max_cases, compute)


modes = {mode: run(prompt=mode) for mode in MODES}
first = modes["clicks"]
mode_rows = {mode: one.rows for mode, one in modes.items()}

# %%
study = prompt_modes.published_modes()  # the study's IoU of each task, mode and choice
measured = pd.concat([mask_choices(rows).assign(mode=mode) for mode, rows in mode_rows.items()])
by_mode = prompt_modes.mode_means(pd.concat([study, measured]))  # every task weighing the same

# %% tags=["hide-input"]
notes = list(dict.fromkeys(note for one in modes.values() for note in one.notes))
display(page.banner(subjects, first.models, notes), prompt_modes.answer(by_mode))

# %% [markdown]
# ## Five modes, three choices
#
# Hollow: the study's five modes, of another model on other images. Filled: this run. *First* of the
# three masks, the *most confident* one, or the best one (*oracle*). Every task weighs the same.

# %%
prompt_modes.mode_figures(by_mode)

# %% [markdown]
# Objects of several regions alone:

# %%
many = {mode: rows[rows["components"] > 1] for mode, rows in mode_rows.items()}
of_many = [mask_choices(rows).assign(mode=mode) for mode, rows in many.items() if len(rows)]
prompt_modes.several_regions(of_many)

# %% [markdown]
# The object of the first dataset that has the most regions. Green: what the model is told and the
# truth. Red dashes: what it answers.

# %%
subject, model = subjects[0], next(iter(first.models.values()))
rows = first.dataset_tables(subject.name)[model.name]
most = rows.sort_values("components", kind="stable").iloc[-1]
reference = next(r for r in subject.list().references if r.case_id == most["case_id"])
class_name = next(name for name, task in subject.tasks.items() if task == most["task"])
case = subject.load(reference, class_name)
protocols = {mode: one.protocol for mode, one in modes.items()}
prompt_modes.pictures(case, class_name, most["task"], model, protocols)

# %% [markdown]
# ## In pairs
#
# Each mode's IoU minus that of one point in the largest region, object by object, with 95 %
# intervals (patients resampled).

# %%
page.differences_table(run_differences(mode_rows, "point_largest", way="mode"), "mode")

# %%
held = prompt_modes.gate(mode_rows, study)
prompt_modes.gate_table(held)

# %% [markdown]
# ## A box first, then clicks; and the mask fed back
#
# Click 1 is a click, or a box round the whole object, which is given again with every further
# click. *Fed back*: the model also receives the logits of the mask that is being corrected.

# %%
ways = {
    "clicks": run(clicks),
    "clicks, mask fed back": run(clicks, feedback=True),
    "box, then clicks": run(clicks, prompt="box_all"),
    "box, then clicks, mask fed back": run(clicks, prompt="box_all", feedback=True),
}
way_rows = {way: one.rows for way, one in ways.items()}
way_curves = pd.concat([mean_curves(rows).assign(line=way) for way, rows in way_rows.items()])
keys = ["level", "model", "line", "click"]
way_means = way_curves.groupby(keys, sort=False)["iou"].mean().reset_index()


# %%
def draw_ways(axes, means):
    """Draw a line for each way to begin and to go on."""
    plots.lines(axes, means, list(ways))
    last = means["click"].max()
    return f"From 1 to {last}: {figures.ends(means[means['click'].isin([1, last])])}"


show.panels(way_means, ["model", "level"], "Line plot of mean IoU against clicks", draw_ways)

# %%
page.differences_table(run_differences(way_rows, "clicks", way="mode"), "mode")

# %% [markdown]
# ## A box that is off
#
# Each side of the box is moved by normal noise, drawn once per object; SAM was trained with a
# standard deviation of 0.1. Below the figure: the IoU with the noisy box minus that with the tight
# one.

# %%
noisy = {f"noise {sd}": run(prompt="box_all", box_noise=float(sd)) for sd in str(noise).split()}
box_rows = {"noise 0": mode_rows["box_all"]} | {name: one.rows for name, one in noisy.items()}
box_curves = [
    mean_curves(rows).assign(sd=float(name.split()[1])) for name, rows in box_rows.items()
]
keys = ["level", "model", "sd"]
noise_means = pd.concat(box_curves).groupby(keys, sort=False)["iou"].mean().reset_index()


# %%
def draw_noise(axes, means):
    """Draw a line for each model."""
    plots.lines(axes, means.assign(line=means["model"]), list(means["model"].unique()), x="sd")
    xlabel = "standard deviation of a side, as a share of the box"
    axes.set(ylim=(0, 1), xlabel=xlabel, ylabel="IoU")
    return f"From a tight box to noise of {means['sd'].max():g}: {figures.ends(means, 'model')}"


kind = "Line plot of mean IoU against box noise"
show.panels(noise_means, ["level"], kind, draw_noise, (4.2, 3.2), 380)

# %%
page.differences_table(run_differences(box_rows, "noise 0", way="mode"), "mode")

# %%
# nothing without weights of MedSAM
prepared = medsam_page.evaluate_both(subjects, medsam, max_cases, compute)
medsam_page.section(prepared)

# %% [markdown]
# ## How
#
# Regions are connected also by corners. A point is the deepest pixel of its region, a box the
# smallest that holds it. Points in several regions go into one question; boxes are asked one by
# one, and the masks of equal rank are united before one is chosen. With a single region all three
# modes of boxes are the same.

# %% [markdown]
# ## Limits
#
# - All prompts are made from the truth. A person's are less exact, and a box costs more effort than
#   a click.
# - GrabCut was made for boxes, but takes no mask.

# %% [markdown]
# ## Take-aways
#
# - Published: a box round each region beats any point, on average over the 28 tasks.
# - A box need not be exact: noise of a tenth of its side is what SAM was trained with.
# - For an object of several regions, prompt each of them.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, "clicks": clicks, "noise": noise}
parameters |= {"medsam": medsam, "max_cases": max_cases, "compute": compute}
all_runs = {**modes, **ways, **noisy, **prepared}
tables = {(*key, name): rows for name, one in all_runs.items() for key, rows in one.tables.items()}
made_by("prompt_modes", parameters, tables, first.protocol)
