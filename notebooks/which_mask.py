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
# (which-mask)=
# # Which of SAM's masks, and fed back or not?
#
# SAM answers a prompt with three masks, or with one. Which should count, and does it help to give
# SAM its last mask again with the next click?

# %% tags=["parameters"]
datasets = "ct_torso"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # SAMs of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
clicks = 9  # clicks simulated for each object
max_cases = 6  # at most so many cases of each dataset, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import display

from medsam_utils import published
from medsam_utils.book import show
from medsam_utils.book.pages import page, which_mask
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.runs import evaluate_models, load_datasets
from medsam_utils.clicks import MASK_RULES
from medsam_utils.statistics import mean_curves

# %%
subjects = load_datasets(datasets, folder, data, classes, ignore, threshold)
runs = {
    rule: evaluate_models(subjects, models, checkpoint, protocol, clicks, max_cases, compute)
    for rule, protocol in MASK_RULES.items()
}

# %%
parts = [mean_curves(run.rows).assign(rule=rule) for rule, run in runs.items()]
by_task = pd.concat(parts, ignore_index=True)  # mean IoU per task, model, rule and click
curves = which_mask.over_tasks(by_task)  # the mean of these, every task weighing the same

# %% tags=["hide-input"]
notes = list(dict.fromkeys(note for run in runs.values() for note in run.notes))
display(page.banner(subjects, runs["first"].models, notes), which_mask.answer(curves))

# %% [markdown]
# The mask that counts is the most confident of three (the study's Algorithm 1), the first of three
# (its released code), the single one (`multimask_output=False`), or the best one, chosen with the
# truth in hand (oracle). "Fed back": SAM gets the low-resolution logits of that mask with the next
# click. SAM's authors advise the most confident of three after one click, then the single mask, fed
# back.

# %% [markdown]
# ## The curves
#
# Mean IoU after each click, every task weighing the same. Dashed: the study's means over 28 tasks,
# of other models (SAM ViT-H, RITM) on other images, so only their shape can be compared.

# %%
study = which_mask.study_curves()  # SAM and RITM as published, in the same columns
display(which_mask.panels(curves), which_mask.study_panels(study))

# %% [markdown]
# ## The numbers

# %%
made_clicks = study["click"] <= clicks
numbers = which_mask.numbers(pd.concat([curves, study[made_clicks]]))
show.table(numbers, fold=False)

# %% [markdown]
# ## Which of the two was published?
#
# The mean difference between a measured curve and the study's curve of SAM is small where a rule
# could have made that curve. Other images and another SAM can move a curve up or down; they do not
# easily turn one that rises into one that does not.

# %%
distances = which_mask.distances(curves, published.mean_curve("SAM"))
show.table(
    distances.rename(columns={"difference": "mean difference to the published curve of SAM"})
)

# %% [markdown]
# ## Why confidence misleads
#
# Means over all objects under the first rule of the table. Where the mask with the highest
# predicted IoU is not the one with the highest true IoU, choosing by confidence takes the wrong
# one, and the next click corrects that one.

# %%
candidates = which_mask.candidates(runs["most confident"].rows)
show.table(candidates, fold=False)

# %% [markdown]
# ## What this says of the study
#
# - **The rule.** If the curve of the first mask resembles the published one and that of the most
#   confident one does not, the published numbers belong to the code and not to the paper's
#   sentence.
# - **The plateau.** The study finds that more than about three clicks hardly help SAM. If the curve
#   with feedback goes on rising, the plateau belongs to the way in which SAM was asked.
# - **SAM against RITM.** RITM always receives its own last mask: a model that remembers was
#   compared with one that was made to forget.
#
# ## How far this carries
#
# - One distilled encoder (`mobile_sam`) stands for SAM here. Whether ViT-H behaves alike must be
#   run.
# - Out of the box the images are slices of one patient, with masks by another model: no interval,
#   and agreement, not accuracy.
# - The rule decides which mask the next click corrects, so the curves differ in their clicks, too.

# %% [markdown]
# ## Take-aways
#
# - Take the first or the single mask, not the most confident one, until your own images say
#   otherwise.
# - Give SAM its last mask again with every further click.
# - A plateau of SAM after three clicks may be one of how it is asked.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
tables = {(*key, rule): table for rule, run in runs.items() for key, table in run.tables.items()}
parameters = {"datasets": datasets, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, "clicks": clicks, "max_cases": max_cases}
parameters |= {"compute": compute}
made_by("which_mask", parameters, tables, runs["first"].protocol)
