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
# # Small objects, and what a model knows of its masks
#
# How much more do small objects need, and does a model know when its mask is wrong?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
workers = "auto"  # processes to compute on; auto: what the machine has room for; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.pages import confidence, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import evaluate_datasets, given

parameters = given(globals())
runs = evaluate_datasets(**parameters)
rows = runs.rows
display(page.banner(list(runs.datasets.values()), runs.models, runs.notes), confidence.answer(rows))

# %% [markdown]
# ## By size
#
# Size is the share of the image's pixels that the object covers. An error of one pixel along the
# border costs a small object more IoU than a large one.

# %% tags=["hide-input"]
confidence.by_object_size(rows)

# %% [markdown]
# ## Does the model know?
#
# With each mask SAM gives its own guess of the IoU. Masks are put into ten bins by it; a point is a
# bin's mean, and larger if the bin holds more masks. On the dotted line predicted and true IoU are
# equal; below it the model is too sure.

# %% tags=["hide-input"]
confidence.confidence(rows)

# %% [markdown]
# ## Which of its masks?
#
# SAM answers with three candidate masks. The study takes the one of the highest predicted IoU; its
# released code takes the first; an oracle would take the best, with the truth in hand. The clicks
# of the three curves are the same, those of this run, so only after the first click are they what a
# run under that choice would give.

# %% tags=["hide-input"]
confidence.choices(rows)

# %% [markdown]
# After one click, task by task: the mean IoU of each choice, and the **regret** of the most
# confident mask, which is how much better the best one was, with its 95 % interval.

# %% tags=["hide-input"]
confidence.regrets(rows)

# %% [markdown]
# ## How
#
# The rows are those of the datasets' own chapters; they tell the size of every true object, and the
# predicted and the true IoU of every candidate mask. A curve is the mean over the tasks that have
# such objects, every task weighing the same.

# %% [markdown]
# ## Limits
#
# - Bins hold objects of different tasks: small objects are often lesions, large ones organs. A
#   difference between two bins is not the effect of size alone.
# - A bin with few objects says little; their number stands in the caption.
# - The predicted IoU was learnt on other images, and nothing here was adjusted to it.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("confidence", parameters, runs.tables, runs.protocol)
