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
# (annotation-effort)=
# # How much annotation time do clicks save?
#
# How much of the time of an outline by hand do clicks save, where an IoU of 0.80 is good enough?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object, and how many a person makes before drawing after all
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
first_click = 2.4  # seconds of the first click on an object
correction = 5.0  # seconds of each further click, with the look that finds the error: an assumption
drawing = 79.2  # seconds of an outline by hand
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from itertools import product

import pandas as pd
from IPython.display import display

from medsam_utils import plots
from medsam_utils.book import show
from medsam_utils.book.pages import annotation_effort, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.statistics import GROUP, clicks_to_targets, means

# %%
subjects = load_datasets(datasets, folder, data, classes, ignore, threshold)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
objects = clicks_to_targets(runs.rows)  # of every object to 0.80, 0.85 and 0.90; or it is missed


# %%
def seconds(objects, correction, drawing):
    """Seconds of each object; one that never gets there costs all its clicks and the drawing."""
    return first_click + correction * (objects["clicks"] - 1) + drawing * objects["missed"]


def effort(objects, correction, drawing):
    """Mean seconds of an object by task, model and target, and what they save."""
    ends = (first_click, first_click + correction * (clicks - 1) + drawing)
    timed = objects.assign(seconds=seconds(objects, correction, drawing))
    table = means(timed, [*GROUP, "target"], "seconds", ["clicks", "missed"], within=ends)
    price = drawing * (1 - table["missed"]) / table["clicks"]
    return table.assign(saved=1 - table["seconds"] / drawing, break_even=price)


table = effort(objects, correction, drawing)
timed = objects.assign(seconds=seconds(objects, correction, drawing))  # of every object

# %% tags=["hide-input"]
display(page.banner(subjects, runs.models, runs.notes), annotation_effort.answer(timed, drawing))

# %% [markdown]
# What clicks save depends on how many a mask takes, how often it never gets there, and what a click
# and an outline cost.
#
# ## Seconds an object
#
# For each task and each IoU that is asked for. Left of the dashed line clicking is cheaper than
# drawing. Bars: 95 % intervals, patients resampled.

# %%
names, most = list(table["model"].unique()), table[["seconds", "high"]].max(axis=None)


def draw(axes, points):
    """Draw a point for each task and model, and a line at what drawing costs."""
    tasks = list(points["task"].unique())
    plots.by_task(axes, points.assign(line=points["model"], iou=points["seconds"]), tasks, names)
    axes.axvline(drawing, color=plots.INK, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1.05 * max(most, drawing)), xlabel="seconds an object")
    cheaper = points[points["saved"] > 0].groupby("model")["task"].nunique()
    counts = "; ".join(f"{name} on {cheaper.get(name, 0)} of {len(tasks)}" for name in names)
    return f"Clicking is the cheaper way with {counts} tasks"


size = (4.2, 1.2 + 0.3 * table["task"].nunique())
shown = table.assign(to=table["target"].map("IoU {:.2f}".format))
show.panels(shown, ["to", "level"], "Points of seconds an object, task by task", draw, size, 340)

# %% [markdown]
# ## The numbers
#
# "clicks": mean number until the IoU first reaches the target. "missed": share of objects that
# never do; they cost all their clicks and then the drawing. "saved": part of the drawing's time
# that is spared, below 0 where clicking costs more. "break-even": what a click may take on average
# before drawing is cheaper, whatever the prices.

# %%
ends = table[["seconds", "low", "high"]].to_numpy()
seconds_text = [page.with_interval(*line, ".0f") for line in ends]
texts = {"seconds": seconds_text, "missed": table["missed"].map("{:.0%}".format)}
texts |= {"saved": table["saved"].map("{:.0%}".format)}
numbers = table.assign(**texts).drop(columns=["low", "high"])
show.table(numbers.rename(columns={"break_even": "break-even, s a click"}), digits=2)

# %% [markdown]
# ## Other prices
#
# The first target again, with outlines and corrections that cost less or more.

# %%
outlines = (drawing / 4, drawing / 2, drawing, drawing * 2)
corrections = (correction / 2, correction, correction * 2)
to_first = objects[objects["target"] == table["target"].min()]
lines = []
for outline, price in product(outlines, corrections):
    other = effort(to_first, price, outline)
    for (level, model), model_effort in other.groupby(["level", "model"], sort=False):
        line = {"outline, s": outline, "correction, s": price, "model": model, "level": level}
        line["cheaper on"] = f"{(model_effort['saved'] > 0).sum()} of {len(model_effort)} tasks"
        lines.append(line | {"saved": model_effort["saved"].mean()})
prices = pd.DataFrame(lines)
show.table(prices, fold=len(prices) > 24)

# %% [markdown]
# ## How
#
# The prices are parameters of this notebook:
#
# - **Outline by hand, 79.2 s**: 22 hours per 1,000 objects in everyday photographs, outlined by lay
#   people {cite:p}`lin2014`. {cite:t}`bearman2016` name 54 to 79 s.
# - **First click, 2.4 s**: the median that {cite:t}`bearman2016` measured.
# - **Further clicks, 5 s**: an assumption.
#
# [The explorer](#the-explorer) lets you try it by hand.
#
# ## Limits
#
# - The simulated user sees the truth and stops at the first click that reaches the target. A person
#   stops too early or too late.
# - A mask of IoU 0.80 may need repair; an outline by hand is not of IoU 1 either.
# - Waiting for the model is not counted.

# %% [markdown]
# ## Take-aways
#
# - What counts is how often clicks never get there: each such object costs clicks and outline.
# - The break-even is the price of a click that your own readers must stay below.
# - The seconds are those of photographs and lay people: measure your own before you plan.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "folder": folder, "data": data, "models": models}
parameters |= {"protocol": protocol, "clicks": clicks, "max_cases": max_cases}
parameters |= {"first_click": first_click, "correction": correction, "drawing": drawing}
parameters |= {"compute": compute}
made_by("annotation_effort", parameters, runs.tables, runs.protocol)
