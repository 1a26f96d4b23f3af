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
# # Train the small RITM on drawings
#
# `ritm_small` learns as RITM does (Sofiiuk et al. 2021): it sees the image, all clicks so far and
# its own previous mask. It learns from drawings alone, and begins with the convolutional stages
# that `sam_small` learned from them.
#
# The weights in the repository come from 2,129 steps of 4 drawings with 2 views each, about an hour
# on a share of two processor cores; the first stages were those of `sam_small` after 4,400 steps.
# The shares of windows and of faulty first masks rose after 800 steps; from about step 1,400 the
# learning rate fell to zero. Then came 3,500 steps on the drawings as they are now, with small,
# thin, hollow, faint and translucent objects: 30 minutes in bfloat16 on two cores, in two processes
# whose gradients were averaged, with a rate of 0.0007 that fell to zero from step 1,400 on. So this
# notebook trains such a model, not bit for bit the same one.
#
# | mean IoU, before and after those 3,500 steps | 1 click | 3 clicks | 9 clicks |
# | --- | --- | --- | --- |
# | 200 unseen drawings | .43, .48 | .67, .74 | |
# | eight sets of real images | .46, .47 | .71, .76 | .85, .89 |

# %% tags=["parameters"]
steps = 10_000  # in all, counted from the first
minutes = 600.0  # of this run at most
fall = 0.2  # last part of the steps or minutes, over which the learning rate falls to zero
batch = 4  # drawings per step
objects = 2  # objects per drawing, each in a view of its own
size = 192  # longest side of a view, in pixels
learning_rate = 1e-3  # peak of AdamW's, after a linear rise over 200 steps; Muon's is twice as high
seed = 2  # of weights, drawings and clicks
threads = 1  # of torch; drawing has processes of its own
start_from = ""  # weights of a sam_small whose convolutions are the start; empty: random ones
folder = "training"  # where ritm_small_checkpoint.pt and ritm_small.pt are written; empty: nowhere
resume = True  # go on from the checkpoint in the folder if it is there
save_every = 200  # steps between checkpoints
# Workers are processes that draw; with 0 this one draws. "device=cuda" trains on a GPU, and
# "dtype=bfloat16" is faster where the processor has it (AVX512-BF16, AMX, recent GPUs).
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says

# %% tags=["hide-input"]
import torch
from IPython.display import display

from medsam_utils.book.compute import Compute
from medsam_utils.book.pages.training import source
from medsam_utils.demo import training_ritm
from medsam_utils.models.devices import choose_device

# %% [markdown]
# ## Views
#
# RITM sees the whole image at the first click and then only the surroundings of its own mask,
# enlarged. So a view is the whole drawing, or a window round the object, sometimes one that cuts a
# part of it off.

# %%
display(source(training_ritm.cut_view), source(training_ritm.Views))

# %% [markdown]
# ## Clicks and previous masks
#
# Clicks are put where the mask is most wrong, as in Algorithm 1, or sometimes anywhere wrong. Most
# windows begin with a faulty mask instead of none, as if clicks had gone before.

# %%
display(source(training_ritm.add_clicks), source(training_ritm.spoil_mask))

# %% [markdown]
# ## Loss

# %%
source(training_ritm.click_loss)

# %% [markdown]
# ## Training
#
# The rounds of a step are independent of one another, since no gradient goes through a previous
# mask. The last round always counts, the others every second time, which saves their backward pass.

# %%
display(source(training_ritm.learn_from), source(training_ritm.train))

# %%
torch.set_num_threads(threads)
options = Compute.parse(compute)
training = training_ritm.train(
    steps=steps,
    minutes=minutes,
    fall=fall,
    batch=batch,
    objects=objects,
    size=size,
    learning_rate=learning_rate,
    seed=seed,
    save_every=save_every,
    folder=folder,
    resume=resume,
    start_from=start_from,
    device=str(choose_device(options.device)),
    bfloat16=options.dtype == "bfloat16",
    workers=1 if options.workers == "auto" else int(options.workers),
)
