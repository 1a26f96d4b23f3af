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
# # Automatic mode: masks of everything
#
# SAM can be asked at every point of a grid. How good are the masks, if someone who knows the truth
# names them, and if a light classifier does?

# %% tags=["parameters"]
dataset = "xray_hip"  # a name of medsam_utils.DATASETS, best one with several classes
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # names of medsam_utils.MODELS; the first SAM among them is asked
checkpoint = ""  # weights file to use instead of the registry's
points_per_side = 12  # points of the grid along each side of the image
pred_iou_thresh = 0.4  # masks with a lower predicted IoU are dropped
stability_score_thresh = 0.5  # masks that change more with the threshold are dropped
box_nms_thresh = 0.7  # of masks whose boxes overlap more only the surest stays
folds = 5  # parts of the patients; each is tested once with a classifier trained on the others
max_cases = 10  # at most so many cases, spread evenly; 0: all
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from dataclasses import asdict

from IPython.display import display

from medsam_utils.book import show
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.everything import answer, proposals_figure
from medsam_utils.book.pages.record import command, excluded, excluded_table
from medsam_utils.book.runs import load_cases, load_datasets, load_first_model
from medsam_utils.comparison import compare_ways, score_masks
from medsam_utils.run_record import versions
from medsam_utils.workflows import everything

# %%
(subject,) = load_datasets(dataset, folder, data, classes, ignore, threshold)
sam, notes = load_first_model(models, checkpoint, compute, "sam.Sam")
listing = subject.list()
images, unusable = load_cases(subject, listing.references, max_cases=max_cases)

# %%
grid = {"points_per_side": points_per_side, "pred_iou_thresh": pred_iou_thresh}
grid |= {"stability_score_thresh": stability_score_thresh, "box_nms_thresh": box_nms_thresh}
proposals = [everything.propose(case, sam, **grid) for case in images]
named = {  # masks by class of each image, in two ways
    "oracle": [everything.oracle(one) for one in proposals],
    "classifier": everything.classify(proposals, folds),
}
rows = score_masks(subject, images, named)  # one row per way, image and class

# %% tags=["hide-input"]
display(page.banner([subject], {sam.name: sam}, notes), answer(rows))

# %% [markdown]
# ## One image
#
# All proposals, then the masks of the first class. Green: the truth. Red dashes: the masks.

# %%
classified = rows[rows["way"] == "classifier"].groupby("case_id")["iou"].mean().sort_values()
median = classified.index[len(classified) // 2]  # the case of median IoU
i = [case.case_id for case in images].index(median)
name = next(name for name, mask in images[i].masks.items() if mask.any())

pictures = [proposals_figure(proposals[i])]
for way, masks in named.items():
    truth, caption = images[i].masks[name], f"{way}: {name}"
    pictures.append(figures.picture(images[i].image, caption, truth, masks[i][name]))
show.row(pictures)

# %% [markdown]
# ## The numbers
#
# Per class and image: the union of the proposals of that name against all pixels of the class.
# Brackets: 95 % intervals, patients resampled; differences are paired.

# %%
by_iou = compare_ways(rows, "oracle", ["task"])  # means, and paired differences to the oracle
by_dice = compare_ways(rows, "oracle", ["task"], value="dice")
table = (
    page.with_intervals(by_iou, "oracle")
    .assign(dice=page.with_intervals(by_dice, "oracle", "dice")["dice"])
    .sort_values("task", kind="stable", ignore_index=True)
    .rename(columns={"difference": "IoU minus the oracle's"})
)
show.table(table, fold=len(table) > 30)

# %%
left_out = [asdict(exclusion) for exclusion in (*listing.exclusions, *listing.not_read)]
left_out += unusable
excluded(excluded_table(left_out))

# %% [markdown]
# ## How
#
# segment-anything's own mask generator drops masks that are unsure or unstable, and of those whose
# boxes overlap much keeps the surest. *Oracle*: proposals are taken in the order of their share
# inside the true class, as many as give the highest IoU. *Classifier*: a random forest on size,
# place, grey values, contrast, compactness and SAM's two scores of each proposal. It learns from
# proposals of other patients than it is tested on; a proposal has a class's name if their IoU is at
# least 0.5.

# %% [markdown]
# ## Limits
#
# - The oracle is the limit of every classifier on these proposals, not of SAM.
# - Thresholds and grid are lower than the library's own (0.88, 0.95 and 32 points a side).
# - Images without the class are left out, so masks wrongly given its name there cost nothing.

# %% [markdown]
# ## Take-aways
#
# - The oracle says what was proposed; the classifier says what can be used.
# - An object that no grid point proposes is lost, whoever names the masks.
# - A classifier must be tested on other patients than it learnt from.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"dataset": dataset, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, **grid, "folds": folds, "max_cases": max_cases}
parameters |= {"compute": compute}
display(
    command("everything", parameters),
    show.paragraphs(f"{sam.name}, weights sha256 {sam.weights}, on {sam.device}."),
    show.details(
        "Versions", "\n".join(f"{name} {version}" for name, version in versions().items())
    ),
)
