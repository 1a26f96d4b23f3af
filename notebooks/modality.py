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
# # Datasets of one modality
#
# Which objects of this modality does one click get, which need more, and which stay out of reach?

# %% tags=["parameters"]
datasets = "xray_chest xray_hip"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.pages import overview, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.statistics import mean_curves, summary

# %%
subjects = load_datasets(datasets, data=data)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click

# %%
display(page.banner(subjects, runs.models, runs.notes), overview.answer(rows))
overview.about(subjects)

# %% [markdown]
# ## IoU against clicks, task by task
#
# A line per task, a figure per model. The study's curves of the same tasks stand apart and dashed.
# Each dataset's own chapter shows its tasks one by one, with intervals, and with images.

# %%
means = mean_curves(rows)  # mean IoU per task, model and click, with its 95 % interval
overview.curves(means)

# %% [markdown]
# ## The numbers
#
# IoU@k is the mean IoU after k clicks. NoC@80 is the mean number of clicks until the IoU first
# reaches 0.80; an object that never gets there counts as the number of clicks that were made, and
# the share of such objects stands in brackets. A heading sorts the table by its column.

# %%
page.results_table(summary(rows))

# %% [markdown]
# ## How
#
# The rows are those of the datasets' own chapters: the same cases, models and [simulated
# clicks](#the-protocol). A mean is over the images of one task; tasks are not averaged here.

# %% [markdown]
# ## Limits
#
# - Tasks differ in more than their modality: objects are large or small, one region or several, and
#   were outlined by different people. A difference between two tasks is not the effect of one of
#   these.
# - Small objects lose more IoU by the same error at the border.
# - What holds of [one dataset](#the-datasets) holds here too: slices, contrast and clicks are
#   simulated or chosen by rules.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("modality", parameters, runs.tables, runs.protocol)
