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
# Which objects reach a mean IoU of 0.80 with one click, which with nine, and which never?

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
from medsam_utils.statistics import mean_curves

# %%
subjects = load_datasets(datasets, data=data)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click

# %%
display(page.banner(subjects, runs.models, runs.notes), overview.answer(rows))
overview.about(subjects)

# %% [markdown]
# ## IoU against clicks
#
# A line per task. Dashed: the study's SAM and RITM. Solid: the first model of this run.

# %%
means = mean_curves(rows)  # mean IoU per task, model and click, with its 95 % interval
overview.curves(means)

# %%
overview.notes(subjects)

# %% [markdown]
# ## Take-aways
#
# - A task's mean IoU is no promise for a single image: the chapters show the spread.
# - Tasks differ in size, number of regions and outline, not in modality alone.
# - A task of fewer than five objects is not ranked here.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("modality", parameters, runs.tables, runs.protocol)
