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
# # Datasets of one modality
#
# Which objects of this modality does one click get, which need more, and which stay out of reach?

# %% tags=["parameters"]
datasets = "xray_chest xray_hip"  # names of medsam_utils.DATASETS, with spaces between
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

from medsam_utils.book.pages import overview, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import evaluate_datasets, given

parameters = given(globals())
runs = evaluate_datasets(**parameters)
display(
    page.banner(list(runs.datasets.values()), runs.models, runs.notes), overview.answer(runs.rows)
)
overview.about(list(runs.datasets.values()))

# %% [markdown]
# ## IoU against clicks, task by task
#
# A line per task, a figure per model. The study's curves of the same tasks stand apart and dashed.
# Each dataset's own chapter shows its tasks one by one, with intervals, and with images.

# %% tags=["hide-input"]
overview.curves(runs.rows)

# %% [markdown]
# ## The numbers
#
# IoU@k is the mean IoU after k clicks. NoC@80 is the mean number of clicks until the IoU first
# reaches 0.80; an object that never gets there counts as the number of clicks that were made, and
# the share of such objects stands in brackets. A heading sorts the table by its column.

# %% tags=["hide-input"]
page.results_table(runs.rows)

# %% [markdown]
# ## How
#
# The rows are those of the datasets' own chapters: the same cases, models and [simulated
# clicks](#the-protocol). A mean is over the images of one task; tasks are not averaged here.

# %% [markdown]
# ## Limits
#
# - Tasks differ in more than their modality: objects are large or small, one region or several, and
#   were outlined by different people. A difference between two tasks is not the effect of one of
#   these.
# - Small objects lose more IoU by the same error at the border.
# - What holds of [one dataset](#the-datasets) holds here too: slices, contrast and clicks are
#   simulated or chosen by rules.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("modality", parameters, runs.tables, runs.protocol)
