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
# # SAM against RITM
#
# Which model is better with one click, which with nine, and do our numbers agree with the study's?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # of medsam_utils.MODELS; the first is compared with each other
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
added = "results/added"  # folder of rows that others have shared, see `make add`; empty: none
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
origins = comparison.add_origins(runs, added)  # rows of others, under the name of their origin
rows = runs.rows  # one row per object, model and click

# %%
study = published.curves()  # the study's mean IoU per model, task and click
curves = mean_curves(rows)  # the same of this run, with its 95 % interval
means = pd.concat([study, figures.apart(curves)])  # masks that a model made: a level of their own

# %% tags=["hide-input"]
display(page.banner(subjects, runs.models, runs.notes), origins, comparison.answer(means))

# %% [markdown]
# ## One click
#
# Hollow: the study's figure 1 (28 tasks). Filled: this run.

# %%
comparison.one_click(means)

# %% [markdown]
# ## More clicks
#
# The mean over tasks, every task weighing the same. It has no band: tasks were chosen, not drawn.

# %%
averages = comparison.over_tasks(means)
comparison.average(averages)

# %% [markdown]
# Task by task, as in the study's figure 4; dashed: the study.

# %%
figures.curves(curves)

# %% [markdown]
# The study's other tasks, published values alone:

# %%
others = comparison.other_tasks(study, rows)
show.some([figures.study_curves(task) for task in others], 0, "figures of the study")

# %%
verdicts = published.gate(rows)  # each of our values beside the published one
comparison.gate(verdicts)

# %% [markdown]
# ## Is the difference more than chance?
#
# Each object gives one difference of IoU. Its mean stands with the 95 % interval and the p value of
# a [paired test](#how-sure). "Ahead" names who leads with one click, and from which click on the
# other does, with its 95 % interval.

# %%
tests = comparison.paired_tests(rows)
comparison.tests_table(tests)

# %% [markdown]
# ## Limits
#
# - A published value is a mean without an interval, so "outside" is said somewhat too often.
# - A difference to the study may come from its slices and contrast, which are unpublished, from the
#   protocol, or from the model.

# %% [markdown]
# ## Take-aways
#
# - One click: SAM. Nine clicks on an object that is alone in its label map: RITM.
# - On tasks of several classes the published order is not that of the models alone: [a click on a
#   neighbouring organ](#the-label-rule) counted as positive.
# - RITM always receives its last mask, the study's SAM never did: see [which mask, and fed back or
#   not](#which-mask).

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "added": added, "compute": compute}
made_by("comparison", parameters, runs.tables, runs.protocol)
