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
# (the-comparison)=
# # Models compared
#
# Which model is better after one click, which after nine, and do our numbers agree with the
# study's?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # of medsam_utils.MODELS; the first is compared with each other
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import display

from medsam_utils import published
from medsam_utils.book import show
from medsam_utils.book.pages import comparison, figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.statistics import mean_curves

# %%
subjects = load_datasets(datasets, data=data)
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click

# %%
study = published.curves()  # the study's mean IoU per model, task and click
curves = mean_curves(rows)  # the same of this run, with its 95 % interval
means = pd.concat([study, figures.apart(curves)])  # masks that a model made: a level of their own

# %% tags=["hide-input"]
display(page.banner(subjects, runs.models, runs.notes), comparison.answer(means))

# %% [markdown]
# ## One click
#
# The study's figure 1, from its released numbers: hollow points. Filled points are this run's.

# %%
comparison.one_click(means)

# %% [markdown]
# ## More clicks
#
# The mean over tasks, every task weighing the same. It has no band: tasks were chosen, not drawn,
# so there is no wider set of tasks that an interval could speak of.

# %%
averages = comparison.over_tasks(means)
comparison.average(averages)

# %% [markdown]
# Task by task, the study's figure 4: our curves with their bands, and the study's beside them,
# dashed.

# %%
figures.curves(curves)

# %% [markdown]
# The study's other tasks, on datasets that this page was not asked for: published values alone.

# %%
others = comparison.other_tasks(study, rows)
show.row(figures.study_curves(task) for task in others)

# %% [markdown]
# ## The gate
#
# Where we ran a model that the study ran too (`sam_vit_h` is its SAM, `ritm_h32` its RITM) on the
# real images, each value is held against the published one: our IoU minus the study's, and whether
# the study's lies **inside** or **outside** our 95 % interval; **no interval** means fewer than
# five patients. Phantoms, and models that the study did not run, are compared with nothing.

# %%
verdicts = published.gate(rows)  # each of our values beside the published one
comparison.gate(verdicts)

# %% [markdown]
# ## Is the difference more than chance?
#
# Both models saw the same objects, so each object gives one difference of IoU. Its mean stands with
# the 95 % interval, and with the p value of a test that flips the signs of whole patients; p is
# corrected by Holm's method for all tasks and clicks of a table. Where the curves cross is the
# first click at which the model that was behind with one click is ahead (">9": not with nine
# clicks).

# %%
tests = comparison.paired_tests(rows)
comparison.tests_table(tests)

# %% [markdown]
# ## How
#
# The rows are those of the datasets' own chapters: the same cases, models and [simulated
# clicks](#the-protocol). The released numbers are read from `book/published` (see [the
# datasets](#the-published-numbers)), and no mean mixes them with ours, or demo with measured. [How
# sure are we?](#how-sure) explains intervals and tests.

# %% [markdown]
# ## Limits
#
# - A published value is a mean without an interval: the study's own uncertainty adds to ours, so
#   "outside" is said somewhat too often.
# - The study's choice of slices and contrast was not published. A difference may come from there,
#   from the protocol, or from the model.
# - With few patients even a difference that all of them share cannot have a small p: with five,
#   none below 0.06, and the correction multiplies it.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("comparison", parameters, runs.tables, runs.protocol)
