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
# (speed)=
# # What it costs
#
# How long does an evaluation take, beside the study's released code and beside the model alone, and
# how does that grow with images, objects, clicks, cases and workers?

# %% tags=["parameters"]
measured = "benchmarks/measured"  # folder of the tables that `make bench` writes

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils.book import show
from medsam_utils.book.pages import speed
from medsam_utils.book.pages.record import command

# %%
by_size = speed.read(measured, "loop_by_size")  # a line per image size and number of objects
speed.answer(by_size)

# %% [markdown]
# ## By image size and number of objects
#
# **Released** is the study's loop in our words: one object at a time, three masks at full size,
# everything kept to the end. **Plain** is Algorithm 1 as a first script would have it, around the
# same `SamPredictor`. **Bare** is segment-anything's encoder once and its decoder for all objects
# at every click: no click, no mask, no IoU. Where **ours / bare** is below 1, our decoder does the
# same sums with less work.

# %%
ratios = {
    "released / ours": "How many times as fast as the released loop",
    "ours / bare": "Times the cost of the model alone",
}
panels = [speed.ratio(by_size, column, meaning) for column, meaning in ratios.items()]
display(show.row(panels), speed.tables(measured, "loop_by_size"))

# %% [markdown]
# ## By number of clicks

# %%
speed.tables(measured, "loop_by_clicks")

# %% [markdown]
# ## By number of cases, and on workers
#
# The workers are up and have loaded the model before the clock starts; the rows of all of them are
# compared byte by byte.

# %%
speed.tables(measured, "cases", "workers")

# %% [markdown]
# ## On the clock, with all cores
#
# **default** counts the start of the workers and the loading of the model in each, which a run of a
# few images does not win back. The released loop has all threads.

# %%
speed.tables(measured, "loop_on_the_clock")

# %% [markdown]
# ## An image and a click of SAM
#
# `mobile_sam` beside `SamPredictor` on the same network, and its encoder as packaged, in
# onnxruntime.

# %%
speed.tables(measured, "mobile_sam")

# %% [markdown]
# ## The price of being fast
#
# The fast loop sums in another order than `SamPredictor`: how often does that lead to another
# click? And what does a second protocol cost when the encoded images were kept? For that, weights
# of `vit_b` that were never trained stand in for the released ones: they cost the same.

# %%
speed.tables(measured, "agreement", "embeddings")

# %% [markdown]
# ## A click in a page, and in JupyterLab
#
# In a page SAM's decoder runs in the browser, on an image that was encoded beforehand. **loaded**
# is all that the browser fetches for the first answer, **first** the time from the button to that
# answer.

# %%
speed.tables(measured, "in_page")

# %% [markdown]
# In JupyterLab the kernel answers. A large picture is zoomed and moved there at full size.

# %%
speed.tables(measured, "live", "fluency")

# %% [markdown]
# ## How
#
# The loop's tables and that of workers are medians of runs that took turns; the others are single
# runs. Loops: one thread, processor time; cases, workers, clicks and what is on the clock: wall
# time.
#
# ## Limits
#
# - Ratios carry from one machine to the next better than times, and neither carries far. Trust no
#   ratio below about 1.3.
# - `sam_small` is a small network, so what is not the model weighs most.
# - Nothing here was measured on a GPU.

# %% [markdown]
# ## Take-aways
#
# - Encode an image once and decode all its objects together: that is most of what can be saved.
# - On a processor SAM ViT-H spends nearly all time in its encoder, whatever the loop.
# - Measure on your own machine: `make bench`.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
command("speed", {"measured": measured})
