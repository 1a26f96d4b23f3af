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
# (pseudo-labels)=
# # Helping another model: pseudo-labels
#
# A U-Net that learnt from few masks labels the other images itself. Do these labels get better when SAM draws
# them anew, prompted by them, and does a network that learns from them?

# %% tags=["parameters"]
dataset = "us_breast"  # a name of medsam_utils.DATASETS
folder = ""  # your own data instead: a folder with images/ and masks/
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "sam_small"  # names of medsam_utils.MODELS; the first one draws the labels anew
checkpoint = ""  # weights file to use instead of the registry's
prompt = "clicks"  # what it is told of a label: clicks (its innermost pixel), box_all, ... of prompts.MODES
held_out = 0.4  # share of the patients that are tested on
labelled = 0.4  # share of the other patients whose masks are learnt from
side = 64  # pixels to which the U-Net resizes an image, a multiple of 8
steps = 100  # of the learning of each network
seed = 0  # of the division of patients and of learning
device = ""  # of the model that draws anew: cpu, cuda, cuda:1, mps; empty: the best there is

# %% tags=["hide-input"]
from dataclasses import replace

from IPython.display import HTML, display

from medsam_utils import PAPER, load_dataset, load_folder, unet
from medsam_utils.pages import page, pseudo_labels
from medsam_utils.pages.record import command
from medsam_utils.pages.runs import given

parameters = given(globals())
subject = load_folder(folder) if folder else load_dataset(dataset, data or None)
class_name = next(iter(subject.classes))
references = pseudo_labels.divided(subject.list().references, held_out, labelled, seed)
cases = {part: pseudo_labels.load(subject, class_name, of_part) for part, of_part in references.items()}
masks = [case.masks[class_name] for case in cases["labelled"]]
model, notes = pseudo_labels.helper(models, checkpoint, device, cases["labelled"][0])
if left_out := sum(map(len, references.values())) - sum(map(len, cases.values())):
    notes.append(f"{left_out} cases cannot be used or have no {class_name}: they are in no number here")

alone = unet.train(cases["labelled"], masks, side, steps, seed)
own = [unet.predict(alone, case, side) for case in cases["unlabelled"]]
protocol = replace(PAPER, prompt=prompt)
anew = [
    unet.refined(case, mask, model, protocol) for case, mask in zip(cases["unlabelled"], own, strict=True)
]
labels = {"as the U-Net drew them": own, f"drawn anew by {model.name}": anew}
of_labels = pseudo_labels.scores(subject, class_name, cases["unlabelled"], labels)

labels["true masks (oracle)"] = [case.masks[class_name] for case in cases["unlabelled"]]
networks = {
    way: unet.train(cases["labelled"] + cases["unlabelled"], masks + of_way, side, steps, seed)
    for way, of_way in labels.items()
}
tested = {"labelled cases alone": alone} | networks
tested = {way: [unet.predict(n, case, side) for case in cases["test"]] for way, n in tested.items()}
of_test = pseudo_labels.scores(subject, class_name, cases["test"], tested)
first, second = list(labels)[:2]
compared = pseudo_labels.against(of_labels, first), pseudo_labels.against(of_test, "labelled cases alone")
display(page.banner([subject], {model.name: model}, notes), pseudo_labels.answer(*compared, second))

# %% [markdown]
# ## The labels
#
# Of the images whose masks were hidden. The network's mask stands for the truth when the prompt is placed,
# and the model's most confident mask takes its place. Differences are to the network's own masks, paired
# case by case, with 95 % intervals that resample patients.

# %% tags=["hide-input"]
pseudo_labels.table(compared[0])

# %% [markdown]
# ## The networks
#
# Each learnt from nothing, for equally many steps: from the labelled cases alone, or from these and all
# other images with one kind of label. The oracle's labels are the true masks, what better labels could
# give at most. All are tested on the same held-out patients, without any prompt.

# %% tags=["hide-input"]
sizes = ", ".join(
    f"{len(of_part)} {part} cases of {len({case.patient_id for case in of_part})} patients"
    for part, of_part in cases.items()
)
display(HTML(f"<p>{sizes}; no patient is in two of these.</p>"), pseudo_labels.table(compared[1]))

# %% [markdown]
# ## How
#
# This is a round of what the study proposes as help for another model: masks of a segmentation model on
# unlabelled images prompt SAM, and what it answers is learnt from. The U-Net is small and sees the image at a
# reduced size, so that the page takes half a minute.

# %% [markdown]
# ## Limits
#
# - One division of patients and one seed. The intervals hold what the held-out patients let vary, not what
#   another division or another start of the learning would.
# - A label that SAM draws can be another structure than the one meant, and nobody looks at it here. Where the
#   object has several regions, one click gives one of them.
# - The networks are small and learn for few steps. Where even the oracle's labels do not help, this is what
#   holds the network back, and not the labels: take more `steps`.
# - `sam_small` never learned from boxes; for a model that did, try `prompt="box_all"`. What a detector's
#   boxes are worth when they are off is on the page about [prompts](#prompt-modes).

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
HTML(command("pseudo_labels", parameters))
