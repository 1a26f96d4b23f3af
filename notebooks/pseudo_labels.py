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
# # Pseudo-labels: SAM as a teacher
#
# A U-Net that learnt from few masks labels the other images itself. Do these labels get better when
# SAM draws them anew, and does a network that learns from them?

# %% tags=["parameters"]
dataset = "us_breast"  # a name of medsam_utils.DATASETS
folder = ""  # your own data instead: a folder with images/ and masks/
classes = ""  # names and values of your masks, as book/own.md says; empty: looked for
ignore = ""  # of your masks: values that count in no score, such as "255"
threshold = 0  # of your masks: from which of 1..255 on a soft one counts; 0: as the protocol says
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # names of medsam_utils.MODELS; the first one draws the labels anew
checkpoint = ""  # weights file to use instead of the registry's
prompt = "clicks"  # what it is told of a label: clicks, box_all, ... of prompts.MODES
held_out = 0.4  # share of the patients that are tested on
labelled = 0.4  # share of the other patients whose masks are learnt from
side = 64  # pixels to which the U-Net resizes an image, a multiple of 8
steps = 100  # of the learning of each network
seed = 0  # of the division of patients and of learning
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from dataclasses import asdict, replace

from IPython.display import display

from medsam_utils import PAPER
from medsam_utils.book import show
from medsam_utils.book.pages import page
from medsam_utils.book.pages.pseudo_labels import answer, measures, measures_figure, sizes
from medsam_utils.book.pages.record import command, excluded, excluded_table
from medsam_utils.book.runs import load_cases, load_datasets, load_first_model
from medsam_utils.comparison import compare_ways, score_masks
from medsam_utils.workflows.fine_tuning import split_by_patient
from medsam_utils.workflows.pseudo_labels import predict, refine, train

# %%
(subject,) = load_datasets(dataset, folder, data, classes, ignore, threshold)
class_name, listing = next(iter(subject.classes)), subject.list()
learn, test = split_by_patient(listing.references, held_out, seed)
unlabelled, with_masks = split_by_patient(learn, labelled, seed)
references = {"labelled": with_masks, "unlabelled": unlabelled, "test": test}

loaded = {part: load_cases(subject, which, class_name) for part, which in references.items()}
cases = {part: usable for part, (usable, _) in loaded.items()}
truths = {part: [case.masks[class_name] for case in usable] for part, usable in cases.items()}
model, notes = load_first_model(models, checkpoint, compute)

# %%
alone = train(cases["labelled"], truths["labelled"], side, steps, seed)
own = [predict(alone, case) for case in cases["unlabelled"]]
protocol = replace(PAPER, prompt=prompt)
refined = [
    refine(case, mask, model, protocol) for case, mask in zip(cases["unlabelled"], own, strict=True)
]
labels = {"as the U-Net drew them": own, f"drawn anew by {model.name}": refined}

# %%
both = cases["labelled"] + cases["unlabelled"]
networks = {"labelled cases alone": alone}
for way, masks in {**labels, "true masks (oracle)": truths["unlabelled"]}.items():
    networks[way] = train(both, truths["labelled"] + masks, side, steps, seed)
tested = {
    way: [predict(network, case) for case in cases["test"]] for way, network in networks.items()
}

# %%
# One row per way and case; then the mean of each way, and its paired difference to the labels as
# the U-Net drew them, or to the network that learnt from those.
label_masks = {way: [{class_name: mask} for mask in masks] for way, masks in labels.items()}
label_rows = score_masks(subject, cases["unlabelled"], label_masks)
label_changes = compare_ways(label_rows, next(iter(labels)), ["task", "level"])

network_masks = {way: [{class_name: mask} for mask in masks] for way, masks in tested.items()}
network_rows = score_masks(subject, cases["test"], network_masks)
network_changes = compare_ways(network_rows, next(iter(labels)), ["task", "level"])

# %% tags=["hide-input"]
banner = page.banner([subject], {model.name: model}, notes)
display(banner, answer(label_changes, network_changes, list(labels)[1]))

# %%
measured = measures({"labels": label_rows, "networks": network_rows})
measures_figure(measured)

# %% [markdown]
# ## The labels
#
# On the images whose masks were hidden. The prompt is placed by the network's mask, and the model's
# most confident mask takes its place. Differences are to the network's own masks, paired case by
# case, with 95 % intervals, patients resampled.

# %%
label_table = page.with_intervals(label_changes.drop(columns="task"), next(iter(labels)))
show.table(label_table)

# %% [markdown]
# ## The networks
#
# Each learnt from nothing, for equally many steps: from the labelled cases alone, or from these and
# all other images with one kind of label. The oracle's labels are the true masks. Differences are
# to the network that learnt from labels as the U-Net drew them. All are tested on the same held-out
# patients, without any prompt.

# %%
network_table = page.with_intervals(network_changes.drop(columns="task"), next(iter(labels)))
display(sizes(cases), show.table(network_table))

# %%
left_out = [asdict(exclusion) for exclusion in (*listing.exclusions, *listing.not_read)]
left_out += [entry for _, unusable in loaded.values() for entry in unusable]
excluded(excluded_table(left_out))

# %% [markdown]
# ## Limits
#
# - The U-Net is small and sees the image at a reduced size. One division of patients, one seed.
# - A label that SAM draws can be another structure than the one meant, and nobody looks at it here.
# - Labels begin with one click here; with boxes, try `prompt="box_all"`.

# %% [markdown]
# ## Take-aways
#
# - Compare with the network that learns from its own labels, not with the labelled cases alone:
#   more images help in either case.
# - A better label need not make a better network: both are measured.
# - If the oracle's labels do not help either, the network is what holds it back.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
parameters = {"dataset": dataset, "folder": folder, "data": data, "models": models}
parameters |= {"checkpoint": checkpoint, "prompt": prompt, "held_out": held_out}
parameters |= {"labelled": labelled, "side": side, "steps": steps, "seed": seed}
parameters |= {"compute": compute}
command("pseudo_labels", parameters)
