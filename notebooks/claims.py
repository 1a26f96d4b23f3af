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
# (the-claims)=
# # What the study says, tested
#
# Which sentences of the study do its numbers support, and does a run of one's own say the same?

# %% tags=["parameters"]
datasets = "ct_torso"  # names of medsam_utils.DATASETS, with spaces between; phantoms are left out
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam ritm_small"  # the first SAM and the first RITM stand for the study's
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.claims import judge, load_claims, measured_table, published_table
from medsam_utils.book.pages import claims, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets

# %%
sentences, groups = load_claims()  # book/claims.yml
study = judge(sentences, published_table(), groups)  # a verdict on each by the released numbers

# %%
subjects = claims.real(load_datasets(datasets, data=data))  # without phantoms
runs = evaluate_models(subjects, models, "", protocol, clicks, max_cases, compute)
rows = runs.rows  # one row per object, model and click
measured = judge(sentences, measured_table(rows, claims.stand_ins(runs)), groups)

# %% tags=["hide-input"]
verdicts = claims.levels(study, measured, rows)
display(page.banner(subjects, runs.models, runs.notes), claims.answer(verdicts))

# %% [markdown]
# ## Effects
#
# Each sentence says where an effect lies: a mean IoU, a difference between two models or two
# numbers of clicks, a share. The study's words have no numbers. Where a line stands for "much" or
# "similar" was chosen for this book and is written in each line of the table below.

# %%
claims.effects(verdicts)

# %% [markdown]
# ## Sentence by sentence
#
# - **supported**: the effect lies where the sentence says, and a test tells it from the other side.
# - **refuted**: it lies on the other side, and a test tells it from where the sentence says.
# - **undetermined**: neither. That is not the same as wrong.
#
# The released numbers are means of tasks; no value of a patient was released. Their tests ask
# whether an effect holds over datasets like these: the tasks of one dataset are kept together. A
# run's tests keep the patients together and ask about patients like these. A number that the study
# gives is compared within 0.001, as the released tables are those of the later journal version.
#
# **Power** is the probability that the sentence would have been supported if the effect were as
# large as `book/claims.yml` expects. Low power makes "undetermined" say nothing.

# %%
claims.table(verdicts)

# %%
claims.where_undetermined(verdicts)

# %% [markdown]
# ## How
#
# A claim is an entry of `book/claims.yml`: quote, formula, tasks, and the values that it allows.
# Each task weighs the same. The test flips the signs of whole patients or datasets, and p is
# corrected by Holm's method, as on [the comparison](#the-comparison). Where several values bound a
# claim, it must be told from each. A share of what is rare is not tested, nor an effect with fewer
# than five patients in each task, or datasets in all.
#
# The rule was tried on 500 drawn truths with known effects: 3 of 9,675 verdicts were wrong. See
# `benchmarks/claims.py` and its result in `benchmarks/measured/claims.md`.

# %% [markdown]
# ## Limits
#
# - A verdict is on the sentence as it was made a formula. Another formula may give another one.
# - The datasets were chosen, not drawn; there is no certain step from them to others.
# - The study's own images, clicks and weights stand behind the released numbers alone.

# %% [markdown]
# ## Take-aways
#
# - SAM's lead with one click is supported; so is that it shrinks with more clicks.
# - A sentence with "much" or "slightly" is only testable once someone says how much.
# - One patient supports nothing: a run needs at least six.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"datasets": datasets, "data": data, "models": models, "protocol": protocol}
parameters |= {"clicks": clicks, "max_cases": max_cases, "compute": compute}
made_by("claims", parameters, runs.tables, runs.protocol)
