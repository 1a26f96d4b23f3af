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
from medsam_utils.book.pages import figures, overview, page
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
display(overview.notes([subject]), passport(subject))

# %% [markdown]
# ## IoU against clicks
#
# Mean over the images of a task after each simulated click. The study's curve, where it has this
# task, stands apart and dashed.

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
# The worst, quartile and best cases by the first model's IoU after one click. Move the slider to
# follow the clicks; every model has its own, because each click answers that model's error. Where
# there is a button for it, SAM answers your own clicks too, in your browser.

# %%
explorer.static(subject, runs.models, rows, runs.protocol, in_page=in_page or None)

# %% [markdown]
# ## The numbers
#
# IoU@k is the mean IoU after k clicks. NoC@80 is the mean number of clicks until the IoU first
# reaches 0.80; an object that never gets there counts as the number of clicks that were made, and
# the share of such objects stands in brackets. The level says where a line comes from: a demo,
# measured on your data, or the published study.

# %%
page.results_table(summary(rows))

# %% [markdown]
# ## How
#
# [Algorithm 1 of the study](#the-protocol) clicks. A dataset with several classes is several tasks,
# each with one binary object per image. [What no number here can tell](#how-sure).


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
# - The worst case in the explorer tells more about use than the mean.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"dataset": dataset, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, "protocol": protocol, "clicks": clicks}
parameters |= {"max_cases": max_cases, "title": title, "compute": compute}
parameters |= {"classes": classes, "ignore": ignore, "threshold": threshold}
made_by("dataset", parameters, runs.tables, runs.protocol)
