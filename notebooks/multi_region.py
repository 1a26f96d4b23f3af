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
# (several-regions)=
# # When does it fail? Objects of several regions
#
# One click lies in one region of an object. Can there be too many clicks?

# %% tags=["parameters"]
datasets = "mri_spine xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS; the examples show the first
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book import show
from medsam_utils.book.pages import page, regions
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.statistics import mean_curves

# %%
subjects = load_datasets(datasets, data=data)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click
several = regions.several(rows)  # objects of two or more regions
numbers = regions.summary(several)  # per task and model: IoU, and what later clicks cost

# %% tags=["hide-input"]
display(page.banner(subjects, runs.models, runs.notes), regions.answer(several))

# %% [markdown]
# The study found that with one click SAM tends to answer with one connected region, that further
# clicks bring in the others, and that too many can damage a good mask (its figure 5).
#
# ## IoU against clicks
#
# Objects of two or more regions alone. Pixels that touch at a corner belong together.

# %%
means = mean_curves(several)
regions.curves(means)

# %% [markdown]
# ## Where clicks help, and where they hurt
#
# For each dataset the object that gains most from its first click to its best one, and the one that
# loses most from its best click to its last, if that is more than 0.05. Green line: the truth. Red
# dashes: the prediction. Numbered dots: the clicks, green for positive and red for negative.

# %%
first_model = next(iter(runs.models))
extremes = regions.extremes(several[several["model"] == first_model])
show.table(extremes)

# %%
regions.examples(runs, first_model, extremes)

# %% [markdown]
# ## The numbers
#
# How common that is. "Loss since best": how far the mean object ends below its own best IoU.
# "Hurt": the share of objects that end more than 0.05 below it.

# %%
regions.table(numbers)

# %% [markdown]
# ## Limits
#
# - The best click is chosen with the truth in hand, and the best of nine noisy values lies above
#   their mean even where clicks do no harm.
# - Objects of several regions differ from others in more than that, such as their size.
# - A single stray pixel counts as a region.

# %% [markdown]
# ## Take-aways
#
# - One click shows one region. An object of several needs a click in each, or a box.
# - Too many clicks can spoil a good mask; the table above counts how often.
# - Whoever clicks should be able to go back to an earlier mask.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("multi_region", parameters, runs.tables, runs.protocol)
