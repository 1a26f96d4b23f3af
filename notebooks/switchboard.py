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
# (the-switchboard)=
# # The protocol, one switch at a time
#
# Which rule of the protocol decides the result most?

# %% tags=["parameters"]
datasets = "xray_hip ct_organ"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
clicks = 9  # clicks simulated for each object
max_cases = 5  # at most so many cases of each dataset for every switch, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from dataclasses import replace

from IPython.display import display

from medsam_utils import PAPER
from medsam_utils.book import show
from medsam_utils.book.pages import page, seeds, switches
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.comparison import rank_agreement, run_differences, seed_spread

# %%
subjects = load_datasets(datasets, data=data)
protocols = switches.switches()  # what differs from Algorithm 1 -> the protocol
runs = switches.evaluate_protocols(subjects, models, protocols, clicks, max_cases, compute)
rows = {name: run.rows for name, run in runs.items()}  # "paper": Algorithm 1 as it is
effects = run_differences(rows, "paper", way="switch")  # per task, model and click
mean_effects = switches.mean_effects(rows)  # over tasks, after the last click, with intervals

# %% tags=["hide-input"]
paper = runs["paper"]
display(page.banner(subjects, paper.models, paper.notes), switches.answer(mean_effects))

# %% [markdown]
# Each rule of [the protocol](#the-protocol) is switched alone, on the same objects. Two have
# chapters of their own, on more images: [which mask counts](#which-mask), and [what a click's label
# means](#the-label-rule).
#
# ## One switch at a time
#
# How the IoU after the last click changes against Algorithm 1. Left of the line the switch makes it
# worse. Bars: 95 % intervals, patients resampled, from five patients on. `seed=1` is no rule: it
# draws another one among equally deep pixels, and shows how large a change is that means nothing.
# `released-code` throws all switches of the code at once. Each axis is as long as its effects.

# %%
switches.effect_figures(effects)

# %% [markdown]
# ## The ranking of models
#
# Does a switch change which model is best? Models are ranked by their mean IoU after the last
# click, best first. Kendall's tau compares the ranking with Algorithm 1's: 1 is the same order, -1
# the reverse. In brackets its 95 % interval, patients resampled: where it reaches from -1 to 1,
# these patients do not decide.

# %%
agreement = rank_agreement(rows, "paper", way="switch")
switches.rankings(agreement)

# %% [markdown]
# ## Ties
#
# Where several pixels are equally deep, one is drawn. How much hangs on the draw? The same objects
# were clicked with three seeds.

# %%
third_seed = evaluate_models(
    subjects, models, "", replace(PAPER, seed=2), clicks, max_cases, compute
)
spread = seed_spread([rows["paper"], rows["seed=1"], third_seed.rows])
seeds.answer(spread)

# %% [markdown]
# The share of objects that had had a choice by then, the standard deviation of an object's IoU
# between the seeds (mean over objects), and the lowest and highest of the three mean IoUs.

# %%
show.table(seeds.by_task(spread))

# %% [markdown]
# ## The numbers
#
# Change of the mean IoU, with the 95 % interval in brackets.

# %%
page.differences_table(effects, "switch")

# %% [markdown]
# ## Limits
#
# - Only a few cases of each dataset are run: `max_cases=0` takes all.
# - Intervals are not corrected for the number of switches and tasks.
# - Two switches together may do more, or less, than their sum.

# %% [markdown]
# ## Take-aways
#
# - Test first which mask counts: no other rule decides what is scored.
# - A change smaller than that of another draw among ties means nothing.
# - Write down the protocol with every number: two "nine clicks" need not be the same.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "clicks": clicks}
parameters |= {"max_cases": max_cases, "compute": compute}
all_runs = {**runs, "seed=2": third_seed}
tables = {
    (name, *key): table for name, run in all_runs.items() for key, table in run.tables.items()
}
made_by("switchboard", parameters, tables, PAPER)
