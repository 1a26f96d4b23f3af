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
# (everything-mode)=
# # Everything at once
#
# SAM can be asked at every point of a grid, without knowing what is in the image. How good are the
# masks that come out, if someone who knows the truth names them, and if a light classifier does?

# %% tags=["parameters"]
dataset = "xray_hip"  # a name of medsam_utils.DATASETS, best one with several classes
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # names of medsam_utils.MODELS, with spaces between; the first SAM among them is asked
checkpoint = ""  # weights file to use instead of the registry's
points_per_side = 12  # points of the grid along each side of the image
pred_iou_thresh = 0.4  # masks with a lower predicted IoU are dropped
stability_score_thresh = 0.5  # masks that change more with the threshold are dropped
box_nms_thresh = 0.7  # of masks whose boxes overlap more only the surest stays
folds = 5  # parts of the patients; each is tested once with a classifier trained on the others
max_cases = 10  # at most so many cases, spread evenly; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is

# %% tags=["hide-input"]
from dataclasses import asdict
from html import escape

from IPython.display import HTML, display

from medsam_utils import load_dataset, load_folder, plots
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import command, excluded
from medsam_utils.book.pages.runs import given, load_cases, load_first
from medsam_utils.comparison import compare_ways, score_masks
from medsam_utils.run_record import versions
from medsam_utils.workflows import everything

parameters = given(globals())

# %% tags=["hide-input"]
subject = load_folder(folder) if folder else load_dataset(dataset, data or None)
sam, notes = load_first(models, checkpoint, device, "sam.Sam")
listing = subject.list()
images, left_out = load_cases(subject, listing.references, max_cases=max_cases)

options = {
    name: value for name, value in parameters.items() if name.endswith("thresh") or "points" in name
}
proposals = [everything.propose(case, sam, **options) for case in images]
ways = {
    "oracle": [everything.oracle(one) for one in proposals],
    "classifier": everything.classify(proposals, folds),
}
rows = score_masks(subject, images, ways)
means = rows.pivot_table(index="task", columns="way", values="iou", sort=False)
parts = [
    f"<strong>{line.oracle:.2f}</strong> on {escape(task)} if the truth names the masks, "
    f"<strong>{line.classifier:.2f}</strong> if a classifier does"
    for task, line in means.iterrows()
]
level = figures.LEVELS[subject.level]
display(
    page.banner([subject], {sam.name: sam}, notes),
    page.sentence(f"Mean IoU ({level}): {'; '.join(parts)}"),
)

# %% [markdown]
# ## One image
#
# All proposals, then what each way makes of them for the first class: green the truth, red dashes
# the masks.

# %% tags=["hide-input"]
of_case = rows[rows["way"] == "classifier"].groupby("case_id")["iou"].mean().sort_values()
i = [case.case_id for case in images].index(
    of_case.index[len(of_case) // 2]
)  # the case of median IoU
case, found = images[i], proposals[i].masks
drawing, axes = plots.new_picture(case.image)
plots.example(axes, case.image)
for number, mask in enumerate(found):
    axes.contour(
        mask, levels=[0.5], colors=plots.COLOURS[number % len(plots.COLOURS)], linewidths=1.2
    )
caption = f"{len(found)} proposals on {case.case_id}"
shown = [figures.figure(plots.svg(drawing, caption), escape(caption), 200)]

name = next(name for name, mask in case.masks.items() if mask.any())
for way, masks in ways.items():
    shown.append(figures.picture(case.image, f"{way}: {name}", case.masks[name], masks[i][name]))
HTML(figures.row(shown))

# %% [markdown]
# ## The numbers
#
# Per class and image, as semantic segmentation: the union of the proposals of that name against all
# pixels of the class. Images without the class are left out. Brackets hold 95 % intervals, patients
# resampled; the difference of IoU is paired, image by image.

# %% tags=["hide-input"]
table, dice = (
    page.with_intervals(compare_ways(rows, "oracle", ["task"], value=value), "oracle", value)
    for value in ("iou", "dice")
)
table["dice"] = dice["dice"]
table = table.sort_values("task", kind="stable").rename(
    columns={"difference": "IoU minus the oracle's"}
)
display(HTML(page.folded(table, most=30)))

rows.attrs["excluded"] = left_out + [asdict(one) for one in listing.exclusions]
excluded(subject, {sam.name: rows})

# %% [markdown]
# ## How
#
# segment-anything's own mask generator asks at every point of the grid, drops masks that are unsure
# or unstable, and of those whose boxes overlap much keeps the surest. *Oracle*: with the truth in
# hand, they are taken in the order of their share inside the class, as many as give the highest
# IoU. *Classifier*: a random forest that reads size, place, grey values, contrast, compactness and
# SAM's own two scores of each proposal. It learns from the proposals of other patients, whose names
# come from the truth (an IoU of at least 0.5 with the class, else none), and never sees a case of a
# patient on whom it is tested.

# %% [markdown]
# ## Limits
#
# - What was not proposed cannot be named: the oracle is the limit of every classifier on these
#   proposals, not of SAM.
# - Few patients: the forest sees a handful of examples of each class. The interval of the
#   difference says how far this can be trusted.
# - Phantoms have their organs in nearly the same place, which makes naming easier than on real
#   images.
# - The thresholds are set for `sam_small`; for the released SAM the library's own (0.88, 0.95 and
#   32 points a side) are the place to begin.
# - A class that is not in an image is not counted there, so masks wrongly given its name cost
#   nothing.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
versions_used = "\n".join(f"{name} {version}" for name, version in versions().items())
weights = f"<p>{sam.name}, weights sha256 {sam.weights}, on {sam.device}.</p>"
HTML(command("everything", parameters) + weights + page.details("Versions", versions_used))
