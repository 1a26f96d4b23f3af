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
# (size-and-confidence)=
# # When does it fail? Small objects and false confidence
#
# Does a model know when its mask is wrong, and how many more clicks do small objects take?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book import show
from medsam_utils.book.pages import confidence, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.confidence import calibration, calibration_error, mask_choices
from medsam_utils.statistics import by_size

# %%
subjects = load_datasets(datasets, data=data)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click

# %%
errors = calibration_error(rows)  # how far the predicted IoU is from the true one, per model
choices = mask_choices(rows)  # mean IoU per task, model, click and way to choose the mask

# %% tags=["hide-input"]
display(page.banner(subjects, runs.models, runs.notes), confidence.answer(rows, errors))

# %% [markdown]
# ## By size
#
# Size is the share of the image that the object covers. One pixel of error along the border costs a
# small object more IoU than a large one.

# %%
sizes = by_size(rows)  # mean IoU per size, task, model and click
size_means = confidence.over_tasks(sizes, "size")
confidence.by_object_size(size_means)

# %% [markdown]
# ## Does the model know?
#
# Masks are put into ten bins by the IoU that the model predicts; a point is a bin's mean, larger if
# it holds more masks. Below the dotted line the model is too sure.

# %%
bins = calibration(rows)  # mean true and predicted IoU of each bin
confidence.reliability(bins, errors)

# %% [markdown]
# ## Which of its masks?
#
# The most confident of SAM's three masks, the first one (the released code), or the best one
# (oracle). All three curves have the clicks of this run, so only the first point is what a run
# under that choice would give; [another chapter](#which-mask) has such runs.

# %%
several = rows.loc[rows["iou_1"].notna(), "model"].unique()  # models with several masks
choices_of_several = choices[choices["model"].isin(several)]
choice_means = confidence.over_tasks(choices_of_several, "choice")
confidence.choice_curves(choice_means)

# %% [markdown]
# After one click. **Regret**: how much better the best mask was than the most confident one, with
# its 95 % interval.

# %%
first_click = choices_of_several[choices_of_several["click"] == 1]
regrets = confidence.regrets(first_click)
show.table(regrets, fold=False)

# %% [markdown]
# ## Limits
#
# - Bins hold objects of different tasks: small objects are often lesions, large ones organs.
# - The predicted IoU was learnt on other images, and nothing here was adjusted to it.

# %% [markdown]
# ## Take-aways
#
# - The predicted IoU is no measure of quality before it was checked on your own images.
# - A small object takes more clicks.
# - Which of the three masks to take is a rule to be tested, not one to be trusted.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("confidence", parameters, runs.tables, runs.protocol)
