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
# (fine-tuning)=
# # Fine-tuning SAM's decoder
#
# Does SAM get better on a dataset when its mask decoder learns from a few patients of it, and what
# does it lose elsewhere?

# %% tags=["parameters"]
dataset = "us_kidney"  # a name of medsam_utils.DATASETS: to learn from, and to hold patients out of
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
elsewhere = "us_breast"  # datasets on which nothing is learnt, with spaces between; empty: none
models = "mobile_sam"  # names of medsam_utils.MODELS; the first SAM among them is tuned
checkpoint = ""  # weights file to begin with instead of the registry's
held_out = 0.5  # share of the patients that nothing is learnt from
steps = 60  # of learning
batch = 8  # objects in each step
clicks_learnt = 3  # Algorithm 1's clicks on each object of a step
learning_rate = 5e-4  # of AdamW at first, falling to zero
rank = 0  # of low-rank adapters in the image encoder's attention; 0: the encoder stays as it is
seed = 0  # of the division of patients and of learning
weights = "results/weights"  # folder in which the new weights are written
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from pathlib import Path

import pandas as pd
from IPython.display import display

from medsam_utils.book import show
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.fine_tuning import (
    answer,
    gains_table,
    learning_curves,
    learning_figure,
)
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets, load_first_model
from medsam_utils.statistics import mean_curves
from medsam_utils.workflows.fine_tuning import examples, fine_tune, gains, split_by_patient
from medsam_utils.workflows.training import save_tensors

# %%
(subject,) = load_datasets(dataset, folder, data, classes, ignore, threshold)
subjects = [subject, *load_datasets(elsewhere, data=data)]
first, notes = load_first_model(models, checkpoint, compute, "sam.Sam")
name, weights_file = first.recipe.name, first.recipe.checkpoint or ""
before = evaluate_models(subjects, name, weights_file, protocol, clicks, max_cases, compute)
model = next(iter(before.models.values()))

# %%
usable = set(before.rows.loc[before.rows["dataset"] == subject.name, "case_id"])
references = [reference for reference in subject.list().references if reference.case_id in usable]
learn, held = split_by_patient(references, held_out, seed)
learnt = examples(subject, learn, model)
tuned, history = fine_tune(model, learnt, steps, batch, clicks_learnt, learning_rate, rank, seed)
path = Path(weights, f"{name}_{subject.name}.pt")
save_tensors(tuned, path)

# %%
unstored = f"{compute} store="  # these weights are evaluated once
after = evaluate_models(subjects, "sam", str(path), protocol, clicks, max_cases, unstored)
patients = {reference.patient_id for reference in held}
tasks = set(subject.tasks.values())
table = gains(before.rows, after.rows, tasks, patients, (1, clicks))

# %% tags=["hide-input"]
both_models = before.models | after.models
display(page.banner(subjects, both_models, [*notes, *before.notes]), answer(table))

# %% [markdown]
# ## Learning
#
# In each step some objects are clicked as Algorithm 1 does, and the mask decoder learns from its
# error after every click. The result is a checkpoint like any other:
# `load_model("sam", checkpoint=path)`.

# %%
learnt_from = {reference.patient_id for reference in learn}
show.paragraphs(
    f"Learnt from {len(learnt)} objects of {len(learnt_from)} patients; {len(patients)} patients "
    f"were held out. The weights: `{path}`."
)

# %%
curves = learning_curves(history)
learning_figure(curves, subject.level)

# %% [markdown]
# ## Before and after
#
# On the held-out patients:

# %%
rows = pd.concat([before.rows, after.rows], ignore_index=True)
held_rows = rows[(rows["dataset"] == subject.name) & rows["patient_id"].isin(patients)]
means = mean_curves(held_rows)
figures.curves(means)

# %% [markdown]
# Beside them the patients that it learnt from, where a larger gain is merely remembered, and other
# datasets. Differences are paired, object by object, with 95 % intervals, patients resampled.

# %%
gains_table(table)

# %% [markdown]
# ## What it looks like
#
# Held-out images at the 25th, 50th and 75th percentile of IoU after one click, before and after.
# Green line: the truth. Red dashes: the prediction. Green dot: the click.

# %%
figures.examples(subject, both_models, held_rows)

# %% [markdown]
# ## How
#
# The image encoder stays as it is; with adapters (`rank`) a product of two thin matrices is learnt
# beside each attention's query, key and value weights. The loss is that of SAM's own training: 20
# parts focal loss and one part dice loss of the best of the three masks, and the squared error of
# the predicted IoU. The learning rate was chosen on phantoms of `us_ovarian`, not on those of this
# page.

# %% [markdown]
# ## Limits
#
# - Phantoms of one dataset are drawn by one program: on real patients, who differ more, expect
#   less.
# - One division of the patients was made, with one seed.
# - The clicks learnt from are those that it is tested with.

# %% [markdown]
# ## Take-aways
#
# - Split by patient: slices of one patient on both sides make any gain too high.
# - An image is encoded once, so learning costs the decoder alone.
# - Look at another dataset as well: what is gained here may be lost there.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"dataset": dataset, "folder": folder, "data": data, "elsewhere": elsewhere}
parameters |= {"models": models, "checkpoint": checkpoint, "held_out": held_out}
parameters |= {"steps": steps, "batch": batch, "clicks_learnt": clicks_learnt}
parameters |= {"learning_rate": learning_rate, "rank": rank, "seed": seed, "weights": weights}
parameters |= {"protocol": protocol, "clicks": clicks, "max_cases": max_cases}
parameters |= {"compute": compute}
made_by("fine_tuning", parameters, before.tables | after.tables, before.protocol)
