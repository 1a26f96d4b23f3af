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
# # Which mask, and with its last mask or without?
#
# SAM answers a prompt with three masks, or with one. Which of them should count, and does it help
# to give SAM its last mask again with the next click?

# %% tags=["parameters"]
datasets = "ct_torso"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # SAMs of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
clicks = 9  # clicks simulated for each object
max_cases = 6  # at most so many cases of each dataset, spread evenly; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images; empty: each rule encodes them anew
workers = "auto"  # processes to compute on; auto: what the machine has room for; 0: this one
scheduler = ""  # address of a Dask scheduler to compute on instead, such as tcp://10.0.0.1:8786
store = "results"  # folder of stored rows: what is there is not computed again

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import display

from medsam_utils import plots, published
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import datasets_of, evaluate_subjects, given
from medsam_utils.clicks import MASK_RULES
from medsam_utils.statistics import mean_curves

parameters = given(globals())

# %% [markdown]
# The same objects are clicked under every rule, each from its own first click on. A rule says which
# mask counts: the most confident of three (the study's Algorithm 1), the first of three (the study's
# released code), the single one that SAM makes of a prompt without ambiguity
# (`multimask_output=False`), or the best one, chosen with the truth in hand (oracle). "Fed back"
# gives SAM the low-resolution logits of that mask with the next click. SAM's authors advise the
# most confident of three after one click, then the single mask, fed back.

# %%
subjects = datasets_of(datasets, folder, data)
computing = {
    name: parameters[name]
    for name in ("checkpoint", "max_cases", "device", "dtype", "embeddings", "workers")
} | {"scheduler": scheduler, "store": store}
runs = {
    rule: evaluate_subjects(subjects, models, protocol=protocol, clicks=clicks, **computing)
    for rule, protocol in MASK_RULES.items()
}
by_task = pd.concat([mean_curves(run.rows).assign(line=rule) for rule, run in runs.items()])
ways = ["level", "model", "line", "click"]
curves = by_task.groupby(ways, sort=False)[["iou", "low", "high"]].mean().reset_index()
if by_task["task"].nunique() > 1:
    curves = curves.drop(columns=["low", "high"])  # a mean over tasks has no interval of patients

# %% tags=["hide-input"]
sam = curves[curves["model"] == curves["model"].iloc[0]].set_index(["line", "click"])["iou"]
last, third = clicks, min(3, clicks)
plain = sam.xs(last, level="click").drop([rule for rule in MASK_RULES if "oracle" in rule])
best = plain.idxmax()
level = figures.level_text(by_task["level"].iloc[0], by_task["task"])
answer = page.sentence(
    f"After {last} clicks <strong>{best}</strong> is best, IoU "
    f"<strong>{plain[best]:.2f}</strong>, against {plain['first']:.2f} for the first mask and "
    f"{plain['most confident']:.2f} for the most confident one, both without feedback "
    f"({curves['model'].iloc[0]}, {page.plural(by_task['task'].nunique(), 'task')}, {level})",
    f"from click {third} to {last} the single mask gains "
    f"{sam['single', last] - sam['single', third]:+.2f} without feedback and "
    f"{sam['single, fed back', last] - sam['single, fed back', third]:+.2f} with it",
)
notes = list(dict.fromkeys(note for run in runs.values() for note in run.notes))
display(page.banner(subjects, runs["first"].models, notes), answer)

# %% [markdown]
# ## The curves
#
# Mean IoU after each click, every task weighing the same, without and with feedback. Beside them,
# dashed, the study's published means over 28 tasks: of other models (SAM ViT-H, RITM) on other
# images, so only their shape can be compared.

# %% tags=["hide-input"]
groups = {
    "without feedback": ["most confident", "first", "single", "oracle"],
    "fed back": [rule for rule in MASK_RULES if rule.endswith("fed back")]
    + ["SAM's authors' advice"],
}


def draw(axes, table):
    """A line for each rule."""
    names = next(names for names in groups.values() if table["line"].iloc[0] in names)
    plots.lines(axes, table, names)
    return f"From 1 to {last} clicks: {figures.ends(table[table['click'].isin([1, last])])}"


of_group = {rule: name for name, rules in groups.items() for rule in rules}
drawn = curves.assign(feedback=curves["line"].map(of_group))
kind = "Line plot of mean IoU against clicks"
study = pd.concat(
    [
        published.mean_curve(method).rename("iou").reset_index().assign(line=method)
        for method in published.METHODS.values()
    ]
).assign(level="published", model="28 tasks")


def draw_study(axes, table):
    """SAM and RITM as published."""
    plots.lines(axes, table, list(published.METHODS.values()), dashed=True)
    return f"From 1 to 9 clicks: {figures.ends(table[table['click'].isin([1, 9])])}"


display(
    figures.panels(drawn, ["feedback", "model", "level"], kind, draw, (3.8, 4.2)),
    figures.panels(study, ["level", "model"], kind, draw_study, (3.8, 3.2)),
)

# %% [markdown]
# ## The numbers
#
# IoU after 1, 3, 5 and 9 clicks, and what the clicks after the third gain. A heading sorts.

# %%
shown = [click for click in (1, 3, 5, 9) if click <= clicks]
table = curves.pivot_table(
    index=["level", "model", "line"], columns="click", values="iou", sort=False
)
numbers = table[shown].rename(columns="IoU@{}".format)
numbers[f"gain from {third} to {last}"] = table[last] - table[third]
study_table = study.pivot_table(index=["level", "model", "line"], columns="click", values="iou")
study_numbers = study_table[shown].rename(columns="IoU@{}".format)
study_numbers[f"gain from {third} to {last}"] = study_table[last] - study_table[third]
numbers = pd.concat([numbers, study_numbers]).round(3).reset_index()

# %% tags=["hide-input"]
page.numbers_table(numbers.rename(columns={"line": "rule"}))

# %% [markdown]
# ## Which of the two was published?
#
# The paper writes that the mask of the highest confidence counts; the released code takes the first
# of three. The difference between a measured curve and the study's mean curve of SAM, averaged over
# the clicks, is small where a rule could have made that curve. Other images and another SAM can move
# a curve up or down; they do not easily turn a curve that rises into one that does not.

# %%
sam_study = published.mean_curve("SAM")
distance = (
    curves[curves["click"].isin(sam_study.index)]
    .assign(distance=lambda t: (t["iou"] - t["click"].map(sam_study)).abs())
    .groupby(["level", "model", "line"], sort=False)["distance"]
    .mean()
    .rename("mean difference to the published curve of SAM")
    .round(3)
    .reset_index()
)

# %% tags=["hide-input"]
page.numbers_table(distance.rename(columns={"line": "rule"}))

# %% [markdown]
# ## Why confidence misleads
#
# SAM's three masks stand in a fixed order, and each has a predicted IoU. Means over all objects
# under the first rule of the table, after one click and after the last: where the mask with the
# highest predicted IoU is not the one with the highest true IoU, choosing by confidence takes the
# wrong one, and the next click corrects that one.

# %%
rows = runs["most confident"].rows
rows = rows[rows["click"].isin([1, last]) & rows["iou_1"].notna()]
parts = []
for i in range(3):
    part = rows.groupby(["model", "click"], sort=False)[[f"predicted_iou_{i}", f"iou_{i}"]].mean()
    part.columns = ["predicted IoU", "true IoU"]
    chosen = rows["mask_index"].eq(i).groupby([rows["model"], rows["click"]]).mean()
    parts.append(part.assign(mask=i + 1, **{"share chosen": chosen}))
candidates = pd.concat(parts).reset_index().sort_values(["model", "click", "mask"]).round(3)

# %% tags=["hide-input"]
page.numbers_table(candidates)

# %% [markdown]
# ## What this says of the study
#
# - **The rule.** If the curve of the first mask resembles the published one and that of the most
#   confident one does not, the published numbers belong to the code and not to the sentence in the
#   paper.
# - **The plateau.** The study finds that more than about three clicks hardly help SAM. If the curve
#   with feedback goes on rising where the one without is flat, the plateau belongs to the way in which
#   SAM was asked, not to SAM.
# - **SAM against RITM.** RITM always receives its own last mask. SAM without feedback does not, so
#   the study compares a model that remembers with one that was made to forget.
#
# ## How far this carries
#
# - One distilled encoder (`mobile_sam`, weights as packaged) stands for SAM here. Whether ViT-H
#   behaves alike must be run: `make book MODELS=sam_vit_h DATA=folder`.
# - Out of the box the images are slices of one patient, and their masks were made by another model:
#   there is no interval, and an IoU against such masks is agreement, not accuracy. With `DATA=` or
#   `FOLDER=` the same page takes your images; intervals appear from five patients on.
# - The rule decides which mask the next click corrects. So the curves differ in their clicks, too,
#   not in the choice alone.
# - The oracle needs the truth: nobody can use it.
#
# Users of segment-anything have asked how further clicks are meant since 2023 (its issues 95, 307
# and 347).

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
tables = {(*key, rule): table for rule, run in runs.items() for key, table in run.tables.items()}
made_by("which_mask", parameters, tables, runs["first"].protocol)
