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
# # A model of one's own
#
# SAM never learned from medical images. Does it get better on a dataset when its mask decoder
# learns from a few patients of it, and what does it lose elsewhere?

# %% tags=["parameters"]
dataset = "us_kidney"  # a name of medsam_utils.DATASETS: to learn from, and to hold patients out of
folder = ""  # your own data instead: a folder with images/ and masks/
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
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from medsam_utils import evaluate, load_dataset, load_folder, plots
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import answers, given, load_first, together
from medsam_utils.comparison import CHANGE, compare_ways
from medsam_utils.statistics import by_object
from medsam_utils.workflows.fine_tuning import examples, fine_tune, split_by_patient
from medsam_utils.workflows.training import save_tensors

parameters = given(globals())

# %% tags=["hide-input"]
subject = load_folder(folder) if folder else load_dataset(dataset, data or None)
subjects = [subject, *(load_dataset(name, data or None) for name in elsewhere.split())]
model, notes = load_first(models, checkpoint, device, "sam.Sam")
rows_of = partial(evaluate, clicks=clicks, max_cases=max_cases or None)
loading = {"protocol": protocol, "device": device, "dtype": dtype, "embeddings": embeddings}
begun = (model.recipe.name, model.recipe.checkpoint or "")
before = answers(partial(rows_of, store=store or None), subjects, *begun, **loading)
model = next(iter(before.models.values()))

usable = set(before.rows.loc[before.rows["dataset"] == subject.name, "case_id"])
references = [reference for reference in subject.list().references if reference.case_id in usable]
learn, held = split_by_patient(references, held_out, seed)
learnt = examples(subject, learn, model)
tuned, history = fine_tune(model, learnt, steps, batch, clicks_learnt, learning_rate, rank, seed)
path = Path(weights, f"{model.recipe.name}_{subject.name}.pt")
save_tensors(tuned, path)
after = answers(rows_of, subjects, "sam", str(path), **loading)


# %% tags=["hide-input"]
def gains(before, after, here, held_out):
    """IoU before and after, and the paired difference: of held-out patients, of the others, and
    elsewhere.

    here: tasks that were learnt. held_out: their patients that were not learnt from.
    """
    both = [
        by_object(rows, (1, clicks)).assign(way=way)
        for way, rows in (("before", before), ("after", after))
    ]
    both = pd.concat(both)
    side = np.where(both["patient_id"].isin(held_out), "held out", "learnt from")
    both["of"] = np.where(both["task"].isin(here), side, "elsewhere")
    table = compare_ways(both, "before", ["of", "task", "level", "click"])
    keys = ["of", "task", "level", "click", "objects", "patients"]
    wide = table.pivot(index=keys, columns="way", values="iou")[["before", "after"]].reset_index()
    wide = wide.merge(table.loc[table["way"] == "after", [*keys, *CHANGE]])
    order = {of: i for i, of in enumerate(("held out", "learnt from", "elsewhere"))}
    return wide.sort_values("of", key=lambda of: of.map(order), kind="stable")


patients = {reference.patient_id for reference in held}
table = gains(before.rows, after.rows, set(subject.tasks.values()), patients)

# %% tags=["hide-input"]
whose = {"held out": "held-out patients", "elsewhere": "patients of a dataset that it did not see"}
parts = [
    f"{escape(line.task)} {page.change(*line[CHANGE])} with {line.click} click{'s' * (line.click > 1)}, from "
    f"{line.before:.2f} to {line.after:.2f}, on {line.patients} {whose[line.of]} "
    f"({figures.LEVELS[line.level]})"
    for _, line in table[(table["click"] == 1) & (table["of"] != "learnt from")].iterrows()
]
of_both = before.models | after.models
display(page.banner(subjects, of_both, notes + before.notes), page.sentence(*parts))

# %% [markdown]
# ## Learning
#
# Patients are divided at random, and all images of a patient go to the same side. In each step some
# objects of one side are clicked as Algorithm 1 does, and the mask decoder learns from its error
# after every click. What it has learnt is a checkpoint like any other: `load_model("sam",
# checkpoint=path)` reads it, every notebook takes it as `checkpoint` with `models="sam"`, and so it
# was read for this page.

# %% tags=["hide-input"]
sides = [len({reference.patient_id for reference in side}) for side in (learn, held)]
facts = (
    f"Learnt from {len(learnt)} objects of {sides[0]} patients; {sides[1]} patients were held out."
)
display(HTML(f"<p>{facts} The weights: <code>{path}</code>.</p>"))

lines = pd.DataFrame(history)[[0, 1, clicks_learnt]].set_axis(
    ["loss", "first click", "last click"], axis="columns"
)
lines = (
    lines.melt(var_name="line", ignore_index=False)
    .reset_index(names="step")
    .assign(level=subject.level)
)
lines["of"] = np.where(lines["line"] == "loss", "loss", "IoU on what it learns from")


def draw(axes, table):
    """Lines against steps."""
    for i, (label, line) in enumerate(table.groupby("line", sort=False)):
        axes.plot(line["step"] + 1, line["value"], color=plots.COLOURS[i], label=label)
    axes.set(xlabel="step", ylim=(0, None if "loss" in set(table["line"]) else 1))
    axes.legend(frameon=False, labelcolor=plots.INK)
    values = table.groupby("line", sort=False)["value"]
    found = [f"{label} from {of[:5].mean():.2f} to {of[-5:].mean():.2f}" for label, of in values]
    return f"Means of the first and the last five steps: {'; '.join(found)}"


figures.panels(lines, ["of", "level"], "Line plot by step", draw, (3.6, 2.6))

# %% [markdown]
# ## Before and after
#
# On the held-out patients:

# %% tags=["hide-input"]
both = together(before.tables | after.tables)
shown = both[(both["dataset"] == subject.name) & both["patient_id"].isin(patients)]
figures.curves(shown)

# %% [markdown]
# Beside them the patients that it learnt from, where a larger gain is what it has merely
# remembered, and other datasets, which it may have forgotten how to segment. Differences are
# paired, object by object, with 95 % intervals that resample patients.

# %% tags=["hide-input"]
texts = [page.with_interval(*change, "+.3f") for change in table[CHANGE].to_numpy()]
page.numbers_table(table.drop(columns=CHANGE[1:]).assign(difference=texts))

# %% [markdown]
# ## What it looks like
#
# Held-out images at the 25th, 50th and 75th percentile of IoU after one click, before and after.
# Green line: the truth. Red dashes: the prediction. Green dot: the click.

# %% tags=["hide-input"]
figures.examples(subject, of_both, shown)

# %% [markdown]
# ## How
#
# The image encoder stays as it is, so every image is encoded once and its embedding is kept; with
# adapters (`rank`) a product of two thin matrices is learnt beside each attention's query, key and
# value weights and added to them at the end. The loss is that of SAM's own training: 20 parts focal
# loss and one part dice loss of the best of the three masks, and the squared error of the predicted
# IoU. The learning rate was chosen on phantoms of `us_ovarian`, not on those of this page.

# %% [markdown]
# ## Limits
#
# - Phantoms of one dataset are drawn by one program, so that few of them teach much about the
#   others. Real patients differ more: expect less.
# - One division of the patients was made, with one seed. Another gives another number; the interval
#   tells how far the held-out patients alone let it vary.
# - In a folder of your own without subfolders, every image counts as a patient of its own. Give
#   each patient a subfolder, or images of one patient come to stand on both sides and the gain is
#   too high.
# - The clicks learnt from are those that it is tested with. A person clicks otherwise.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("fine_tuning", parameters, before.tables | after.tables, before.protocol)
