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
# (through-the-volume)=
# # Through the volume
#
# SAM sees one slice at a time. When it has an object in one slice, can its own mask prompt the next slice,
# and so on to both ends, and how many clicks does that save?

# %% tags=["parameters"]
datasets = "mri_prostate mri_heart ct_spleen"  # names of datasets of volumes, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/ of volumes
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "sam_small"  # names of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
ways = (
    "mask, box, click, box and click, click and mask"  # what of a slice's mask prompts the next, with commas
)
stop = "area"  # where the object is taken to end: never, predicted IoU, area or both
least_iou = 0.5  # a predicted IoU below it ends the object
most_change = 2.0  # a change of area by more than this factor ends the object
rounds = 2  # further rounds of prompts, each in the middle of every gap
clicks = 3  # simulated in each slice that is prompted
protocol = "paper"  # how clicks are simulated: paper or released-code
beyond = 3  # slices looked at past each end of the object
max_volumes = 0  # at most so many of each dataset; 0: all
device = ""  # cpu, cuda, cuda:1, mps; empty: the best there is
dtype = "float32"  # what images are encoded in: float32, bfloat16 or float16
embeddings = ""  # folder in which SAM keeps encoded images for later runs; empty: it keeps none

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils import load_dataset, load_folder
from medsam_utils.pages import page, through_volume
from medsam_utils.pages.record import made_by
from medsam_utils.pages.runs import answers, given

parameters = given(globals())
subjects = (
    [load_folder(folder)] if folder else [load_dataset(name, data or None) for name in datasets.split()]
)
carries = through_volume.carries(ways, stop, least_iou, most_change)
runs = answers(
    lambda *asked: through_volume.table_of(*asked, carries, clicks, rounds, beyond, max_volumes),
    *(subjects, models, checkpoint, protocol, device, dtype, embeddings),
    stand_ins=["sam_small"],
)
rows = runs.rows
display(page.banner(subjects, runs.models, runs.notes), through_volume.answer(rows))

# %% [markdown]
# ## Dice against clicks spent
#
# The dashed line clicks in every slice, once, twice and so on. The others click in the slice where the object
# is largest and carry the mask on; then also in the middle of both halves, then in the middle of every gap
# that is left. Dice is of the whole volume, as one object.

# %% tags=["hide-input"]
through_volume.against_clicks(rows, stop)

# %% [markdown]
# ## What to carry, and when to stop
#
# *Mask* gives the next slice the last one's low-resolution logits, *box* the box round its mask, *click* the
# pixel that is deepest inside. With one slice prompted, under four rules: the object ends where the
# predicted IoU is low, where the area jumps, where either happens, or only where the mask is empty (never).
# HD95 and the mean surface distance are in mm. Brackets hold 95 % intervals, patients resampled; differences
# are paired, volume by volume.

# %% tags=["hide-input"]
through_volume.table(rows)

# %% [markdown]
# ## One volume, slice by slice
#
# The volume whose Dice is the median under the way that does best. Green line: the truth. Red dashes: the
# mask.

# %% tags=["hide-input"]
best, (name, model) = through_volume.best_way(rows), next(iter(runs.models.items()))
same = rows[["model", "way", "stop", "round"]] == [name, best["way"], best["stop"], 0]
record = rows[same.all(axis=1)].sort_values("dice").iloc[same.all(axis=1).sum() // 2]
carry = carries[best["way"], best["stop"]]
through_volume.slices(runs.datasets[record["dataset"]], model, record, carry, runs.protocol, clicks, beyond)

# %% [markdown]
# ## How
#
# In a slice that is prompted, Algorithm 1 places its clicks. The mask that SAM is most sure of then prompts
# the slices on both sides, whose masks prompt the next, up to the stop rule; between two prompted slices each
# goes half of the way. Slices past the ends of the object take part, so a mask that runs on costs Dice. SAM
# itself is unchanged and knows nothing of depth.

# %% [markdown]
# ## Limits
#
# - The simulated user knows where the object is largest and where it ends. A person has to look for that.
# - The way that is named first is the best of those that were tried, on the same volumes: on new ones it may
#   lose a little.
# - Few slices past each end are looked at (`beyond` in the parameters); without a stop rule a mask
#   could run on further.
# - The embedded `sam_small` never learned from boxes or from a mask without clicks, so that those ways fail
#   here says nothing about the released SAM.
# - Models that were trained on videos, such as SAM 2, carry a memory instead of a prompt. They are not here.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("through_volume", parameters, runs.tables, runs.protocol)
