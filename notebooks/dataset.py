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
# # One dataset, simulated clicks
#
# How well does a promptable model segment the objects of this dataset, and how much does each
# further click help?

# %% tags=["parameters"]
dataset = "us_breast"  # a name of medsam_utils.DATASETS
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
protocol = "paper"  # how clicks are simulated: paper, released-code or sam-advice
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases, spread evenly; 0: all
title = ""  # what your own data is called; empty: the folder's name
in_page = ""  # folder for what lets the page itself answer a reader's clicks; empty: it only shows
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book import explorer
from medsam_utils.book.pages import figures, overview, page, worst_first
from medsam_utils.book.pages.passport import passport
from medsam_utils.book.pages.record import excluded, excluded_cases, made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.statistics import mean_curves, summary

# %%
(subject,) = load_datasets(dataset, folder, data, classes, ignore, threshold, title)
runs = evaluate_models([subject], models, checkpoint, protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click

# %% tags=["hide-input"]
display(page.banner([subject], runs.models, runs.notes), page.answer(rows))
display(overview.notes([subject]), page.patients_note(rows), passport(subject))

# %% [markdown]
# ## IoU against clicks
#
# Mean over the images of a task. Dashed, on axes of their own: the study, where it has the task.

# %%
means = mean_curves(rows)  # mean IoU per task, model and click, with its 95 % interval
figures.curves(means)

# %% [markdown]
# ## What an IoU looks like
#
# The images at the 25th, 50th and 75th percentile of IoU after one click. Green line: the truth.
# Red dashes: the prediction. Green dot: the click.

# %%
figures.examples(subject, runs.models, rows)

# %% [markdown]
# ## Single cases, click by click
#
# The worst, quartile and best cases by the first model's IoU after one click. The slider follows
# the clicks; each click answers that model's own error. *Click yourself*, where it is offered, lets
# SAM answer your clicks in your browser.

# %%
more = {"at_last": 5, "limit": 1_000_000} if folder else {}  # cases; bytes of the page
explorer.static(subject, runs.models, rows, runs.protocol, in_page=in_page or None, **more)

# %% [markdown]
# ## Every image, worst first
#
# After the last click of the first model. Green: the truth. Red dashes: the mask. *open* shows a
# case in the explorer above, which holds some of them; any other opens with `make explore`.

# %%
worst_first.table(subject, next(iter(runs.models.values())), rows)

# %% [markdown]
# ## The numbers
#
# IoU@k is the mean IoU after k clicks. NoC@80 is the mean number of clicks to an IoU of 0.80; the
# share of objects that never get there stands in brackets, and they count with all clicks.

# %%
page.results_table(summary(rows))

# %% [markdown]
# [Algorithm 1](#the-protocol) clicks; each class is a task of its own. [What no number here can
# tell](#how-sure).

# %% [markdown]
# ### Left out

# %%
excluded(excluded_cases(runs.tables))

# %% [markdown]
# ## Take-aways
#
# - The first click and the last are two different questions: a model may win one and lose the
#   other.
# - An interval speaks of other patients like these, not of other hospitals.
# - The worst case tells more about use than the mean.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"dataset": dataset, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, "protocol": protocol, "clicks": clicks}
parameters |= {"max_cases": max_cases, "title": title, "compute": compute}
parameters |= {"classes": classes, "ignore": ignore, "threshold": threshold}
made_by("dataset", parameters, runs.tables, runs.protocol)
