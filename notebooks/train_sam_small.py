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
# (sam-from-nothing)=
# # A small SAM from nothing
#
# What does it take to train a promptable model without a single real image?

# %% tags=["parameters"]
steps = 10_000  # in all, counted from the first
minutes = 600.0  # of this run at most
fall = 0.2  # last part of the steps or minutes, over which the learning rate falls to zero
batch = 8  # drawings per step
objects = 2  # objects per drawing
learning_rate = 1e-3  # peak of AdamW's, after a linear rise over 200 steps; Muon's is twice as high
seed = 1  # of weights, drawings and clicks
threads = 1  # of torch; drawing has processes of its own
folder = "training"  # where sam_small_checkpoint.pt and sam_small.pt are written; empty: nowhere
resume = True  # go on from the checkpoint in the folder if it is there
save_every = 200  # steps between checkpoints
measured = "benchmarks/measured"  # folder of the tables of cell_detail.py and training_changes.py
unseen = 40  # drawings, of another seed, on which the result is measured
# Workers are processes that draw; with 0 this one draws. "device=cuda" trains on a GPU, and
# "dtype=bfloat16" is faster where the processor has it (AVX512-BF16, AMX, recent GPUs).
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
from pathlib import Path

import pandas as pd
import torch
from IPython.display import display

from medsam_utils import load_model, models
from medsam_utils.book import show
from medsam_utils.book.compute import Compute
from medsam_utils.book.pages import speed
from medsam_utils.book.pages import training as chapter
from medsam_utils.book.pages.record import command
from medsam_utils.demo import training_sam
from medsam_utils.models.devices import choose_device
from medsam_utils.models.sam_small import build_sam_small

# %%
torch.set_num_threads(threads)
options = Compute.parse(compute)
device = str(choose_device(options.device))
workers = 1 if options.workers == "auto" else int(options.workers)

torch.manual_seed(seed)
random_network = build_sam_small().to(device)
untrained = training_sam.score_drawings(random_network, unseen, device)
shipped_network = load_model("sam_small", device=device).network
shipped = training_sam.score_drawings(shipped_network, unseen, device)
beforehand = chapter.by_weights({"random": untrained, "in the repository": shipped})
sizes = {
    part: sum(parameter.numel() for parameter in network.parameters())
    for part, network in random_network.named_children()
}

# %% tags=["hide-input"]
chapter.answer(beforehand, sum(sizes.values()), unseen)

# %% [markdown]
# ## The drawings
#
# `sam_small` has never seen a medical image, nor any photograph. It learns from drawings
# (`medsam_utils/demo/drawings.py`): a map of labels, bent by a smooth warp, painted with grey
# values, spoilt as scanners spoil images. None is meant to be an organ. Separate ellipses on plain
# texture taught a first network next to nothing about real images. Half of the shapes have a core
# or a piece of other grey, as organs have: mostly the whole is the object, which the grey values
# alone do not tell, and of a drawing's objects the larger are chosen more often. In two drawings of
# five there are objects that one sees through, as bones and lungs in X-rays.

# %%
chapter.drawings_row(seed, 6)

# %% [markdown]
# ## The network
#
# Prompt encoder and mask decoder are segment-anything's own modules, narrow. The image encoder is
# convolutional, with attention at its coarsest stage alone, for a longest side of 256 pixels. While
# upscaling, the mask decoder adds detail of the encoder's finest stages, as in SAM 2, and mixes
# neighbouring cells.

# %%
counts = {**sizes, "together": sum(sizes.values())}
parts = pd.DataFrame({"part": counts.keys(), "parameters": [f"{n:,}" for n in counts.values()]})
show.table(parts)

# %% [markdown]
# ## Where the edge was lost
#
# The weights of step 6,176, without that detail, drew blocks: on 200 unseen drawings 73 % of their
# masks' edges lay on the borders of the 8 x 8 pixel cells of the embedding, where 25 % would by
# chance. Which layer loses where in a cell an edge runs? The grey values within a cell, less their
# mean, are explained by a linear regression on what a layer holds of the cell
# (`benchmarks/cell_detail.py`): the third stage of the encoder and the decoder lost them, so the
# detail comes from the first two stages.

# %%
speed.tables(measured, "cell_detail")

# %% [markdown]
# That detail alone left half of the edges on the borders: a transposed convolution of stride 2
# draws each cell for itself, whatever its neighbours draw. Now a convolution of 3 x 3 pixels
# follows each of the two. After 200 steps with it and 200 without, from the weights of step 8,470
# and on the same drawings, 37 and 51 % of the edges of 60 unseen drawings, as drawn then, lay on
# borders.

# %% [markdown]
# ## Prompts
#
# Clicks lie at the maximum of the distance transform as in Algorithm 1, on the 128 x 128 grid of
# the mask decoder, or in one of four cases anywhere in the region, because people do not click the
# exact middle. Nearly half of the steps begin with a box. Half of the boxes are exact; half have
# half as much noise as in SAM's training, at most 2 % of the input's side. In half of the steps
# further prompts come with the last mask.

# %%
display(chapter.source(training_sam.add_clicks), chapter.source(training_sam.noisy_boxes))

# %% [markdown]
# ## Loss
#
# With the focal loss of SAM's own training a network of random weights stayed with empty masks, so
# it is cross-entropy here, five times as heavy beside the outline. One click can mean several
# objects: of the three candidates the best one counts most. Other prompts have one meaning: the
# single mask counts too. The predicted IoU learns by absolute differences, as it is judged by them.

# %%
display(chapter.source(training_sam.mask_losses), chapter.source(training_sam.prompt_loss))
display(chapter.source(training_sam.pixel_weights), chapter.source(training_sam.affinity_loss))

# %% [markdown]
# ## Training
#
# Muon trains the matrices inside, AdamW all else, and the running average of the weights is kept
# (`medsam_utils/workflows/training.py`). Drawings and clicks of a step depend only on the seed and
# the step, so a resumed run does what an uninterrupted one would have done.

# %%
training = training_sam.train(
    steps=steps,
    minutes=minutes,
    fall=fall,
    batch=batch,
    objects=objects,
    learning_rate=learning_rate,
    seed=seed,
    save_every=save_every,
    folder=folder,
    resume=resume,
    device=device,
    bfloat16=options.dtype == "bfloat16",
    workers=workers,
)
display(chapter.source(training_sam.step_loss), chapter.source(training_sam.train))

# %% [markdown]
# ## What came of it

# %%
last_losses = ", ".join(f"{loss:.2f}" for loss, *_ in training.history[-12:])
trained = training_sam.score_drawings(training.average, unseen, device)
table = chapter.by_weights(
    {"random": untrained, "of this run": trained, "in the repository": shipped}
)
text = (
    f"Steps: {training.start} before, {len(training.history)} now; loss of the last: {last_losses}."
)
display(show.paragraphs(text), show.table(table))

# %% [markdown]
# By what is hard about an object, with the weights in the repository (a box: from a tight box
# alone):

# %%
show.table(chapter.by_kind(shipped))

# %% [markdown]
# The weights in the repository while they were trained: mean IoU on 200 unseen drawings.

# %%
log = pd.read_csv(Path(models.__file__).parent / "weights/sam_small.csv")
chapter.log_figure(log)

# %% [markdown]
# They come from eight runs, the first of 8 drawings a step with two objects, the others of 6 with
# three. So this notebook trains such a model, not bit for bit the same one.
#
# | steps | time | new in it |
# | ---: | --- | --- |
# | 6,176 | 4 hours, a share of two cores | Muon after 800 steps, affinity loss after 1,500 |
# | 2,294 | 82 minutes, one core | boxes, single mask, outlines, detail, harder drawings |
# | 2,173 | 87 minutes, one core | mixed cells |
# | 3,196 | 84 minutes, two cores | small objects |
# | 3,388 | 85 minutes, two cores | rings, thin objects, absolute differences of predicted IoU |
# | 8,400 | 94 minutes, two cores | shapes with parts, slow changes of grey, narrow noise of boxes |
# | 10,800 | 121 minutes, two cores | objects seen through, fewer of many parts, exact boxes |
# | 6,500 | 76 minutes, two cores | larger objects more often, more rounds of many clicks |
#
# In the first run prompt encoder and mask decoder began anew after 1,900 steps. In the second to
# the seventh the learning rate rose to 0.0007 and fell to zero; the seventh went on with 1,500
# steps from 0.0005 and 700 from 0.00025. In the eighth the rate fell from 0.0004 to zero, and over
# the last 2,000 steps, with more clicks, from 0.00025. The sixth began with the mean of the weights
# before and after the fifth; from its step 4,800 on, whole bodies were objects more often. In the
# seventh more than two parts were rarely one object from step 2,600 on, and parts of a body less
# often from 8,600 on.
#
# **Speed.** On two processor cores with AVX512-BF16, losses and gradients of a step took 0.63 to
# 0.72 s in float32 and 0.44 s in bfloat16. A whole step of this notebook in bfloat16 took 0.8 s.
# The last three runs took 0.64 to 0.70 s: a script of its own with two processes, which drew three
# drawings each and averaged their gradients.
#
# ## What each change gives
#
# Short runs from the weights of step 6,176, which differ in one change each, with the same
# drawings, clicks and steps (`benchmarks/training_changes.py`). "None" is the recipe of those
# weights; the drawings had fewer small, thin and hollow objects then. Mixed cells take the edges
# off the borders. Boxes are learned at the cost of clicks at first.

# %%
speed.tables(measured, "training_changes")

# %% [markdown]
# What doctors look for is often small: in six of eleven sets of real images at least half of the
# objects cover less than 2 % of the square that the encoder sees. Of the drawn ones 31 % did at
# first, 42 % in the fourth run and 45 % now (32 % of the chosen). Thin or hollow were 9 % in the
# fourth run, 14 % in the fifth and 12 % now: the wall of a heart, a vessel.
#
# The next table begins with the weights of step 10,643, on the drawings of the sixth run: 200 steps
# with all objects, and 200 without those of a kind. Only the very small ones gain by .04 in all
# three columns; faint ones gain from a box. Thin, hollow and several parts change by less than .03,
# either way: 200 steps are few, and so are the objects.

# %%
speed.tables(measured, "training_kinds")

# %% [markdown]
# ## Limits
#
# - Thin structures stay its weakness, and so do rings in real images, such as the wall of a heart.
# - The runs above are short, and each was made once: small differences are not certain.
# - No real image was trained on. But what is drawn, and which weights were kept, was decided after
#   a look at answers on eight sets of real images: on others it may do worse.

# %% [markdown]
# ## Take-aways
#
# - Variety of the drawings counts, not their likeness to organs.
# - A model trained on drawings shows that a pipeline works; it says nothing about patients.
# - Seeds, steps and recipe are kept, so a run can be resumed and repeated.

# %% [markdown]
# ## How this page was made
#
# A page runs a few steps and keeps nothing. This command keeps weights and a checkpoint in the
# folder `training`; with no parameters at all it trains to the end.

# %% tags=["hide-input"]
parameters = {"steps": steps, "minutes": minutes, "fall": fall, "batch": batch}
parameters |= {"objects": objects, "learning_rate": learning_rate, "seed": seed}
parameters |= {"threads": threads, "folder": folder, "resume": resume}
parameters |= {"save_every": save_every, "measured": measured, "unseen": unseen}
parameters |= {"compute": compute}
command("train_sam_small", parameters)
