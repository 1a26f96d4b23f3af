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
# # Annotation with a model in the loop
#
# How much of a person's work do clicks save, where a mask is wanted that is good enough, against
# drawing its outline by hand?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object, and how many a person makes before drawing after all
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
first_click = 2.4  # seconds of the first click on an object
correction = 5.0  # seconds of each further click, with the look that finds the error: an assumption
drawing = 79.2  # seconds of an outline by hand
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
workers = "auto"  # processes to compute on; auto: what the machine has room for; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from html import escape
from itertools import product

import pandas as pd
from IPython.display import HTML, display

from medsam_utils import plots
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import datasets_of, evaluate_subjects, given
from medsam_utils.statistics import GROUP, clicks_to_targets, means

parameters = given(globals())

# %% tags=["hide-input"]
subjects = datasets_of(datasets, folder, data)
others = ("datasets", "folder", "data", "first_click", "correction", "drawing")
runs = evaluate_subjects(subjects, **{k: v for k, v in parameters.items() if k not in others})
objects = clicks_to_targets(
    runs.rows
)  # clicks of every object to 0.80, 0.85 and 0.90, and whether they suffice


def effort(objects, correction, drawing):
    """Seconds of a mean object by task, model and target; one that never gets there is drawn after
    all."""
    seconds = first_click + correction * (objects["clicks"] - 1) + drawing * objects["missed"]
    ends = (first_click, first_click + correction * (clicks - 1) + drawing)
    objects = objects.assign(seconds=seconds)
    table = means(objects, [*GROUP, "target"], "seconds", ["clicks", "missed"], within=ends)
    price = drawing * (1 - table["missed"]) / table["clicks"]
    return table.assign(saved=1 - table["seconds"] / drawing, break_even=price)


table = effort(objects, correction, drawing)

# %% tags=["hide-input"]
display(page.banner(list(runs.datasets.values()), runs.models, runs.notes))
target = table["target"].min()  # the others are in the table
for level, of_level in table[table["target"] == target].groupby("level", sort=False):
    parts = []
    for model, lines in of_level.groupby("model", sort=False):
        saved = lines["saved"].mean()
        parts.append(
            f"<strong>{escape(model)}</strong> <strong>{lines['seconds'].mean():.0f} s</strong> an object "
            f"({abs(saved):.0%} {'less' if saved >= 0 else 'more'}; {lines['missed'].mean():.0%} of the "
            "objects never get there and are drawn after all)"
        )
    tasks = page.plural(of_level["task"].nunique(), "task")
    answer = page.sentence(
        f"To an IoU of {target:.2f} ({figures.LEVELS[level]}, mean of {tasks}, "
        f"every task weighing the same), where an outline by hand is taken to cost {drawing:g} s, clicking "
        f"costs with {'; with '.join(parts)}"
    )
    display(answer)

# %% [markdown]
# The study names interactive annotation as the first way of using such a model: it proposes a mask,
# a person corrects it by clicks. What that saves depends on three things: how many clicks a mask
# takes until it is good enough, how often it never is, and what a click and an outline cost.
#
# ## Seconds an object
#
# For each task and each IoU that is asked for. To the left of the dashed line clicking is cheaper
# than drawing. Bars are 95 % intervals from resampled patients, where there are five or more.

# %% tags=["hide-input"]
names = list(table["model"].unique())
most = table[["seconds", "high"]].max(axis=None)


def draw(axes, points):
    """A point for each task and model, and a line at what drawing costs."""
    tasks = list(points["task"].unique())
    plots.by_task(axes, points.assign(line=points["model"], iou=points["seconds"]), tasks, names)
    axes.axvline(drawing, color=plots.INK, linewidth=1, linestyle="--")
    axes.set(xlim=(0, 1.05 * max(most, drawing)), xlabel="seconds an object")
    cheaper = points[points["saved"] > 0].groupby("model")["task"].nunique()
    counts = "; ".join(f"{name} on {cheaper.get(name, 0)} of {len(tasks)}" for name in names)
    return f"Clicking is the cheaper way with {counts} tasks"


size = (4.2, 1.2 + 0.3 * table["task"].nunique())
shown = table.assign(to=table["target"].map("IoU {:.2f}".format))
figures.panels(shown, ["to", "level"], "Points of seconds an object, task by task", draw, size, 340)

# %% [markdown]
# ## The numbers
#
# "clicks" is the mean number until the IoU first reaches the target, and "missed" the share of
# objects that never do; they cost all their clicks and then the drawing. "saved" is the part of the
# drawing's time that is spared, below 0 where clicking costs more. "break-even" needs no price of a
# click: it is what a click may take on average before drawing is the cheaper way.

# %% tags=["hide-input"]
HTML(page.folded(table.rename(columns={"break_even": "break-even, s a click"})))

# %% [markdown]
# ## Other prices
#
# The same with outlines and corrections that cost less or more, for the first target.

# %% tags=["hide-input"]
lines = []
prices = (
    (drawing / 4, drawing / 2, drawing, drawing * 2),
    (correction / 2, correction, correction * 2),
)
for outline, price in product(*prices):
    other = effort(objects[objects["target"] == target], price, outline)
    for (level, model), of_model in other.groupby(["level", "model"], sort=False):
        line = {"outline, s": outline, "correction, s": price, "model": model, "level": level}
        line["cheaper on"] = f"{(of_model['saved'] > 0).sum()} of {len(of_model)} tasks"
        lines.append(line | {"saved": of_model["saved"].mean()})
HTML(page.folded(pd.DataFrame(lines), most=24))

# %% [markdown]
# ## How
#
# The rows are those of the datasets' own chapters, so nothing is computed anew. The prices are
# parameters of this notebook:
#
# - **Outline by hand, 79.2 s**: the 22 hours per 1,000 objects that {cite:t}`lin2014` report for
#   outlines of everyday objects, drawn by lay people. {cite:t}`bearman2016` name 54 to 79 s from
#   several studies.
# - **First click, 2.4 s**: the median that {cite:t}`bearman2016` measured for the first click on an
#   object.
# - **Further clicks, 5 s**: an assumption. A person has to look at the mask and find its worst
#   error first; no measured value of it is used here, which is why the break-even and the table of
#   other prices stand beside it.
#
# To try it by hand, `make explore` opens the [explorer](#the-explorer) in JupyterLab: clicks and
# boxes, masks that are accepted one by one, and sessions that are saved and taken up again.
#
# ## Limits
#
# - The simulated user sees the truth and stops at the first click that reaches the target. A person
#   does not know the IoU: they stop too early or too late.
# - The prices are those of photographs and lay people. A radiologist outlines a tumour more slowly,
#   or rejects a mask for reasons that IoU does not see. Put in your own times.
# - Waiting for the model is not counted: encoding an image takes seconds without a GPU, once an
#   image.
# - A mask of IoU 0.80 may need repair before it serves; an outline by hand is not of IoU 1 either,
#   because two readers disagree.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("annotation_effort", parameters, runs.tables, runs.protocol)
