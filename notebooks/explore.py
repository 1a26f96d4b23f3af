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
# # Click on a case
#
# What does a model make of your own clicks and boxes? `make explore` opens this notebook in
# JupyterLab: run its cells.

# %% tags=["parameters"]
datasets = "us_breast mri_heart"  # names of medsam_utils.DATASETS, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/, or with images alone
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
image = ""  # or a single image or volume file; without a truth there is no IoU
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam grabcut"  # names of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
autosave = "annotations"  # folder in which the session is kept after every step; empty: in none
protocol = "paper"  # how clicks are simulated: paper or released-code
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils import load_model
from medsam_utils.book.compute import Compute
from medsam_utils.book.explorer.live import Explorer
from medsam_utils.book.explorer.subjects import open_folder
from medsam_utils.book.runs import load_datasets, usable_device
from medsam_utils.clicks import PROTOCOLS

# %%
device, notes = usable_device(Compute.parse(compute).device)
loaded = {
    name: load_model(name, checkpoint or None if i == 0 else None, device)
    for i, name in enumerate(models.split())
}
own = open_folder(image or folder, classes, ignore, threshold)
subjects = own or load_datasets(datasets, data=data)
explorer = Explorer(subjects, loaded, protocol=PROTOCOLS[protocol], autosave=autosave or None)
display(*notes, explorer)

# %% [markdown]
# - **Click**: inside the object. **Right click** or **shift click**: outside. On a touch screen
#   *next: +* changes which of the two a touch is. All models are given the same clicks.
# - **Box**: press *box* and drag. A model that takes no box says so, and answers the clicks alone.
# - *Algorithm 1's next click* below a model clicks where that model is most wrong. *Algorithm 1*
#   lets it click alone, and the slider shows its first so many clicks; each model then has its own.
# - *Algorithm 1's clicks* shows the simulated clicks as rings beside yours, and the IoU after as
#   many.
# - **Candidate**: a number in a model's table makes that mask count.
#
# To **annotate**, write what the object is called into *Class* and press *accept* below the best
# mask; each class of an image or slice has clicks of its own. *save* writes the session, from which
# *resume* goes on, and the masks as NIfTI, PNG and COCO (`book/run.md` describes them). Files of
# others are not replaced unless you say so. Of a patient nothing is written but the case's name.
#
# The same in Python: `explorer.state` is all that is chosen now, `explorer.session` all that was
# done; `explorer.accept("mobile_sam")`, `explorer.undo()`, `explorer.save("annotations")`,
# `explorer.resume("annotations")`.

# %%
print(explorer.state)
