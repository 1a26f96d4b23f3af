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
# (all-tasks)=
# # All 28 tasks
#
# Which model leads on which object, with one click, with three and with nine?

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.pages import tasks

# %%
table = tasks.table()  # a line for each task: the study's IoU of SAM and RITM, and who leads
display(tasks.answer(table))

# %% [markdown]
# Published values of the journal version. A heading sorts the table. "Leads": who is ahead with
# nine clicks. Where several classes share a label map, the released code calls [a click on a
# neighbouring class positive](#the-label-rule).

# %%
tasks.shown(table)

# %% [markdown]
# "p" marks the 18 tasks of the first preprint (2304.10517). Its eleventh dataset, PET-Liver, has no
# published curve: the journal version has PET-Wholebody instead.

# %%
tasks.preprint(table)

# %% [markdown]
# ## What to know of single lines
#
# - **US-Kidney** is no ultrasound of patients: a network made the images out of CT slices.
# - **Xray-Hip: Femur**: RITM's published IoU is 0.247 after each of the nine clicks. Why is not
#   known; [how RITM saw its clicks](#how-sure) is not known either.
# - **MRI-Breast**: the table of SAM's oracle repeats plain SAM's values for both tasks, so this
#   book reads them as missing.
# - Short names such as GD, GM, SC and FGT are in the [glossary](../glossary.md).
#
# ## Take-aways
#
# - SAM is the better choice for one click, on nearly every task.
# - RITM is the better choice for nine, on nearly every task of one class.
# - Liver vessels, the grey matter of the spinal cord and the parts of brain tumours stay below an
#   IoU of 0.55 with either, even with nine clicks.
