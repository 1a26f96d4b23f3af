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
# (annotation-effort)=
# # Annotation with a model in the loop
#
# How much of a person's work do clicks save, where a mask is wanted that is good enough, against drawing its
# outline by hand?

# %% tags=["parameters"]
datasets = "us_breast xray_chest"  # names of medsam_utils.DATASETS, with spaces between
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "sam_small grabcut"  # names of medsam_utils.MODELS, with spaces between
protocol = "paper"  # how clicks are simulated: paper or released-code
clicks = 9  # clicks simulated for each object, and how many a person makes before drawing after all
max_cases = 0  # at most so many cases of each dataset, spread evenly; 0: all
first_click = 2.4  # seconds of the first click on an object
correction = 5.0  # seconds of each further click, with the look that finds the error: an assumption
drawing = 79.2  # seconds of an outline by hand
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
workers = 0  # processes to compute on; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.effort import Costs
from medsam_utils.effort import effort as effort_of
from medsam_utils.pages import effort, page
from medsam_utils.pages.record import made_by
from medsam_utils.pages.runs import evaluate_datasets, given

parameters = given(globals())
of_costs = ("first_click", "correction", "drawing")
runs = evaluate_datasets(**{k: v for k, v in parameters.items() if k not in of_costs})
costs = Costs(first_click, correction, drawing)
table = effort_of(runs.rows, costs)
display(page.banner(list(runs.datasets.values()), runs.models, runs.notes), effort.answer(table, costs))

# %% [markdown]
# The study names interactive annotation as the first way of using such a model: it proposes a mask, a person
# corrects it by clicks. What that saves depends on three things: how many clicks a mask takes until it is
# good enough, how often it never is, and what a click and an outline cost.
#
# ## Seconds an object
#
# For each task and each IoU that is asked for. To the left of the dashed line clicking is cheaper than
# drawing. Bars are 95 % intervals from resampled patients, where there are five or more.

# %% tags=["hide-input"]
effort.seconds(table, costs)

# %% [markdown]
# ## The numbers
#
# "clicks" is the mean number until the IoU first reaches the target, and "missed" the share of objects that
# never do; they cost all their clicks and then the drawing. "saved" is the part of the drawing's time that
# is spared, below 0 where clicking costs more. "break-even" needs no price of a click: it is what a click
# may take on average before drawing is the cheaper way.

# %% tags=["hide-input"]
effort.table(table)

# %% [markdown]
# ## Other prices
#
# The same with outlines and corrections that cost less or more, for the first target.

# %% tags=["hide-input"]
effort.sensitivity(runs.rows, costs, table["target"].iloc[0])

# %% [markdown]
# ## How
#
# The rows are those of the datasets' own chapters, so nothing is computed anew. The prices are parameters of
# this notebook:
#
# - **Outline by hand, 79.2 s**: the 22 hours per 1,000 objects that {cite:t}`lin2014` report for outlines of
#   everyday objects, drawn by lay people. {cite:t}`bearman2016` name 54 to 79 s from several studies.
# - **First click, 2.4 s**: the median that {cite:t}`bearman2016` measured for the first click on an object.
# - **Further clicks, 5 s**: an assumption. A person has to look at the mask and find its worst error first;
#   no measured value of it is used here, which is why the break-even and the table of other prices stand
#   beside it.
#
# To try it by hand, `make explore` opens the [explorer](#the-explorer) in JupyterLab:
# clicks and boxes, masks that are accepted one by one, and sessions that are saved and taken up again.
#
# ## Limits
#
# - The simulated user sees the truth and stops at the first click that reaches the target. A person does
#   not know the IoU: they stop too early or too late.
# - The prices are those of photographs and lay people. A radiologist outlines a tumour more slowly, or
#   rejects a mask for reasons that IoU does not see. Put in your own times.
# - Waiting for the model is not counted: encoding an image takes seconds without a GPU, once an image.
# - A mask of IoU 0.80 may need repair before it serves; an outline by hand is not of IoU 1 either, because
#   two readers disagree.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("annotation_effort", parameters, runs.tables, runs.protocol)
