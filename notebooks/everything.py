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
# SAM can be asked at every point of a grid, without knowing what is in the image. How good are the masks that
# come out, if someone who knows the truth names them, and if a light classifier does?

# %% tags=["parameters"]
dataset = "xray_hip"  # a name of medsam_utils.DATASETS, best one with several classes
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
model = "sam_small"  # a SAM of medsam_utils.MODELS
checkpoint = ""  # weights file to use instead of the registry's
points_per_side = 12  # points of the grid along each side of the image
pred_iou_thresh = 0.4  # masks with a lower predicted IoU are dropped
stability_score_thresh = 0.5  # masks that change more with the threshold are dropped
box_nms_thresh = 0.7  # of masks whose boxes overlap more only the surest stays
folds = 5  # parts of the patients; each is tested once with a classifier trained on the others
max_cases = 10  # at most so many cases, spread evenly; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is

# %% tags=["hide-input"]
from IPython.display import HTML, display

from medsam_utils import everything, load_dataset, load_folder, load_model
from medsam_utils.pages import everything as shown
from medsam_utils.pages import page
from medsam_utils.pages.page import details
from medsam_utils.pages.record import command
from medsam_utils.pages.runs import given, usable_device
from medsam_utils.run_record import versions

parameters = given(globals())
subject = load_folder(folder) if folder else load_dataset(dataset, data or None)
usable, notes = usable_device(device)
sam = load_model(model, checkpoint or None, usable)
options = {name: value for name, value in parameters.items() if name.endswith("thresh") or "points" in name}
images, left_out = everything.cases_of(subject, max_cases)
cases = [everything.propose(case, sam, **options) for case in images]
ways = {
    "oracle": [everything.oracle(case) for case in cases],
    "classifier": everything.classify(cases, folds),
}
table = everything.scores(cases, ways, subject.tasks)
display(page.banner([subject], {sam.name: sam}, notes + left_out), shown.answer(table, subject.level))

# %% [markdown]
# ## One image
#
# All proposals, then what each way makes of them for the first class: green the truth, red dashes the masks.

# %% tags=["hide-input"]
shown.example(cases, ways, table)

# %% [markdown]
# ## The numbers
#
# Per class and image, as semantic segmentation: the union of the proposals of that name against all pixels of
# the class. Images without the class are left out. Brackets hold 95 % intervals, patients resampled; the last
# line of a task is the paired difference of IoU.

# %% tags=["hide-input"]
HTML(page.folded(everything.summary(table), most=30))

# %% [markdown]
# ## How
#
# segment-anything's own mask generator asks at every point of the grid, drops masks that are unsure or
# unstable, and of those whose boxes overlap much keeps the surest. *Oracle*: with the truth in hand, they are
# taken in the order of their share inside the class, as many as give the highest IoU. *Classifier*: a random
# forest that reads size, place, grey values, contrast, compactness and SAM's own two scores of each proposal.
# It learns from the proposals of other patients, whose names come from the truth (an IoU of at least 0.5 with
# the class, else none), and never sees a case of a patient on whom it is tested.

# %% [markdown]
# ## Limits
#
# - What was not proposed cannot be named: the oracle is the limit of every classifier on these proposals, not
#   of SAM.
# - Few patients: the forest sees a handful of examples of each class. The interval of the difference says how
#   far this can be trusted.
# - Phantoms have their organs in nearly the same place, which makes naming easier than on real images.
# - The thresholds are set for `sam_small`; for the released SAM the library's own (0.88, 0.95 and 32 points a
#   side) are the place to begin.
# - A class that is not in an image is not counted there, so masks wrongly given its name cost nothing.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
versions_used = "\n".join(f"{name} {version}" for name, version in versions().items())
weights = f"<p>{sam.name}, weights sha256 {sam.weights}, on {sam.device}.</p>"
HTML(command("everything", parameters) + weights + details("Versions", versions_used))
