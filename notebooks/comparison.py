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
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
workers = "auto"  # processes to compute on; auto: what the machine has room for; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book.pages import comparison, figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import evaluate_datasets, given

parameters = given(globals())
runs = evaluate_datasets(**parameters)
rows = runs.rows
display(page.banner(list(runs.datasets.values()), runs.models, runs.notes), comparison.answer(rows))

# %% [markdown]
# ## One click
#
# The study's figure 1, from its released numbers: hollow points. Filled points are this run's.

# %% tags=["hide-input"]
comparison.one_click(rows)

# %% [markdown]
# ## More clicks
#
# The mean over tasks, every task weighing the same. It has no band: tasks were chosen, not drawn,
# so there is no wider set of tasks that an interval could speak of.

# %% tags=["hide-input"]
comparison.average(rows)

# %% [markdown]
# Task by task, the study's figure 4: our curves with their bands, and the study's beside them,
# dashed.

# %% tags=["hide-input"]
figures.curves(rows)

# %% [markdown]
# The study's other tasks, on datasets that this page was not asked for: published values alone.

# %% tags=["hide-input"]
comparison.other_tasks(rows)

# %% [markdown]
# ## The gate
#
# Where we ran a model that the study ran too (`sam_vit_h` is its SAM, `ritm_h32` its RITM) on the
# real images, each value is held against the published one: our IoU minus the study's, and whether
# the study's lies **inside** or **outside** our 95 % interval; **no interval** means fewer than
# five patients. Phantoms, and models that the study did not run, are compared with nothing.

# %% tags=["hide-input"]
comparison.gate(rows)

# %% [markdown]
# ## Is the difference more than chance?
#
# Both models saw the same objects, so each object gives one difference of IoU. Its mean stands with
# the 95 % interval, and with the p value of a test that flips the signs of whole patients; p is
# corrected by Holm's method for all tasks and clicks of a table. Where the curves cross is the
# first click at which the model that was behind with one click is ahead (">9": not with nine
# clicks).

# %% tags=["hide-input"]
comparison.paired_tests(rows)

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
#   none below
#   0.06, and the correction multiplies it.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("comparison", parameters, runs.tables, runs.protocol)
