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
# Size is the share of the image's pixels that the object covers. An error of one pixel along the
# border costs a small object more IoU than a large one.

# %%
sizes = by_size(rows)  # mean IoU per size, task, model and click
size_means = confidence.over_tasks(sizes, "size")
confidence.by_object_size(size_means)

# %% [markdown]
# ## Does the model know?
#
# With each mask SAM gives its own guess of the IoU. Masks are put into ten bins by it; a point is a
# bin's mean, and larger if the bin holds more masks. On the dotted line predicted and true IoU are
# equal; below it the model is too sure.

# %%
bins = calibration(rows)  # mean true and predicted IoU of each bin
confidence.reliability(bins, errors)

# %% [markdown]
# ## Which of its masks?
#
# SAM answers with three candidate masks. The study takes the one of the highest predicted IoU; its
# released code takes the first; an oracle would take the best, with the truth in hand. The clicks
# of the three curves are the same, those of this run, so only after the first click are they what a
# run under that choice would give.

# %%
several = rows.loc[rows["iou_1"].notna(), "model"].unique()  # models with several masks
choices_of_several = choices[choices["model"].isin(several)]
choice_means = confidence.over_tasks(choices_of_several, "choice")
confidence.choice_curves(choice_means)

# %% [markdown]
# After one click, task by task: the mean IoU of each choice, and the **regret** of the most
# confident mask, which is how much better the best one was, with its 95 % interval.

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
# - A small object takes more clicks: the same error at its border costs it more IoU.
# - Which of the three masks to take is a rule to be tested, not one to be trusted.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("confidence", parameters, runs.tables, runs.protocol)
