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
# (the-examples)=
# # Examples of every dataset
#
# What does one click give, when it goes badly, when it goes as usual, and when it goes well?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam ritm_small"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object; the pictures show the first
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.pages import examples, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets

# %%
subjects = load_datasets(datasets, data=data)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click

# %%
quartiles = examples.quartiles(rows)  # which image lies at each quartile, per task and model
display(page.banner(subjects, runs.models, runs.notes), examples.answer(quartiles))

# %% [markdown]
# As in the study's figures 2 and 3, the images at the 25th, 50th and 75th percentile of IoU after
# one click, for each task and model. Each model has its own percentiles, so its pictures may be of
# other images. What lies below the 25th percentile is not shown: a dataset's own chapter has its
# worst case.
#
# Green line: the truth. Red dashes: the prediction. Green dot: the click.

# %%
examples.side_by_side(runs, quartiles)

# %% [markdown]
# ## Take-aways
#
# - Look at the quarter of images below the first picture before you trust a mean.
# - A mask can look good at an IoU of 0.7 of a small object, and bad at 0.8 of a large one.
# - The first click is the same for every model; what they answer is not.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("examples", parameters, runs.tables, runs.protocol)
