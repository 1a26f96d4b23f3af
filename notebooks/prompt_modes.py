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
# (prompt-modes)=
# # A point, several points, a box
#
# Which prompt is worth most: one point, a point in each region, or a box? And what do clicks add to a box?

# %% tags=["parameters"]
datasets = "us_breast xray_chest mri_spine"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "sam_small grabcut"  # names of medsam_utils.MODELS that take boxes, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
clicks = 3  # prompts given in turn, where clicks follow the first one
noise = "0.1 0.3"  # standard deviations of a box's sides, as shares of its height and width
max_cases = 6  # at most so many cases of each dataset, spread evenly; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
workers = 0  # processes to compute on; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from dataclasses import replace

from IPython.display import display

from medsam_utils import PAPER, load_dataset, load_folder
from medsam_utils.pages import page, prompt_modes
from medsam_utils.pages.record import made_by
from medsam_utils.pages.runs import evaluate_subjects, given
from medsam_utils.prompts import MODES

parameters = given(globals())
subjects = (
    [load_folder(folder)] if folder else [load_dataset(name, data or None) for name in datasets.split()]
)
computed_with = ["checkpoint", "max_cases", "device", "dtype", "embeddings", "workers", "scheduler", "store"]
computing = {k: v for k, v in parameters.items() if k in computed_with}


def run(turns=1, **fields):
    return evaluate_subjects(subjects, models, protocol=replace(PAPER, **fields), clicks=turns, **computing)


modes = {mode: run(prompt=mode) for mode in MODES}
first = modes["clicks"]
table = prompt_modes.by_choice(modes)
notes = list(dict.fromkeys(note for one in modes.values() for note in one.notes))
display(page.banner(subjects, first.models, notes), prompt_modes.answer(table))

# %% [markdown]
# ## Five modes, three choices
#
# The study's figure of five modes from its released numbers: hollow points, of another model on other images.
# Filled points are this run's. *First* takes the first of the three masks, *most confident* the one with the
# highest predicted IoU, and *oracle* the best one, chosen with the truth in hand. Every task weighs the same.

# %% tags=["hide-input"]
prompt_modes.points(table)

# %% [markdown]
# The object of the first dataset that has the most regions: green what the model is told and the truth, red
# dashes what it answers.

# %% tags=["hide-input"]
rows = first.of(subjects[0].name)[next(iter(first.models))]
case_id, task = rows.sort_values("components", kind="stable").iloc[-1][["case_id", "task"]]
reference = next(r for r in subjects[0].list().references if r.case_id == case_id)
name = next(name for name, of_class in subjects[0].tasks.items() if of_class == task)
case, model = subjects[0].load(reference, name), next(iter(first.models.values()))
prompt_modes.example(case, name, task, model, {mode: one.protocol for mode, one in modes.items()})

# %% [markdown]
# ## In pairs
#
# Each mode's IoU minus that of one point in the largest region, object by object, with 95 % intervals
# (patients resampled). Objects of a single region have the same box in all three modes of boxes.

# %% tags=["hide-input"]
prompt_modes.differences(modes, "point_largest")

# %% [markdown]
# ## The gate
#
# Where the run is of the study's model (`sam_vit_h`) on real images, each value is held against the published
# one. Demo runs are compared with nothing.

# %% tags=["hide-input"]
from IPython.display import HTML

HTML(page.folded(prompt_modes.gate(modes)))

# %% [markdown]
# ## A box first, then clicks; and the mask fed back
#
# What comes first counts as click 1: a click, or a box round the whole object. Every further click goes to
# the deepest pixel of the error, as in [Algorithm 1](#the-protocol), and the box is given again with it.
# *Fed back*: the model also receives the low-resolution logits of the mask that is being corrected.

# %% tags=["hide-input"]
ways = {
    "clicks": run(clicks),
    "clicks, mask fed back": run(clicks, feedback=True),
    "box, then clicks": run(clicks, prompt="box_all"),
    "box, then clicks, mask fed back": run(clicks, prompt="box_all", feedback=True),
}
prompt_modes.with_clicks(ways)

# %% tags=["hide-input"]
prompt_modes.differences(ways, "clicks")

# %% [markdown]
# ## A box that is off
#
# Nobody draws a perfect box. Here each of its sides is moved by normal noise, drawn once per object; SAM was
# trained with a standard deviation of 0.1. The IoU with the noisy box minus the IoU with the tight one:

# %% tags=["hide-input"]
noisy = {f"noise {sd}": run(prompt="box_all", box_noise=float(sd)) for sd in noise.split()}
prompt_modes.differences({"tight": modes["box_all"], **noisy}, "tight")

# %% [markdown]
# ## How
#
# Regions are connected also by corners, the largest first. A point is the deepest pixel of its region, a box
# the smallest that holds its region. Points in several regions go into one question; boxes round several
# regions are asked one by one, and the masks of equal rank are united before one is chosen. The rows lie in
# the same store as those of the datasets' own chapters, each mode under a protocol of its own.

# %% [markdown]
# ## Limits
#
# - The embedded `sam_small` never saw a box in its training: the two vectors that mark the corners of a box
#   are untrained. Its numbers with boxes show that the loop works, and nothing of what boxes are worth. It
#   did learn from clicks and from its own mask fed back. GrabCut was made for boxes, but takes no mask.
# - All prompts are made from the truth. A person's point or box is less exact, and a box costs more effort
#   than a click, although both count as one here.
# - The released code draws its points with an approximate distance and one global generator, ours with the
#   exact one and a seed for each object, so single points differ.
# - The oracle needs the truth: no one can use it, it says what a better choice among the masks could gain.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
runs = {**modes, **ways, **noisy}
tables = {(*key, name): rows for name, one in runs.items() for key, rows in one.tables.items()}
made_by("prompt_modes", parameters, tables, first.protocol)
