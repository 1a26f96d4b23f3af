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
# (the-models)=
# # The models
#
# Which models can answer the clicks, and where do their weights come from?

# %% tags=["hide-input"]
from medsam_utils.book.pages import catalogue

catalogue.models_table()

# %% [markdown]
# A model is named by what stands in `code` type: in the parameter `models` of a notebook, in `make
# book MODELS="..."`, or in `load_model("...")`. All have the same two verbs, so that evaluation and
# explorer cannot tell them apart: an image is encoded once, then clicks are answered. SAM and
# MedSAM answer with three candidate masks and how sure they are of each, RITM and GrabCut with one
# mask.
#
# Downloads go to one folder, the environment variable `MEDSAM_CACHE` or else the system's cache
# folder. What was cut goes on where it stopped; a file with another hash is refused and not kept.
# For RITM no hash was published: that of the first download is recorded beside the file and holds
# from then on. Nothing in a weights file is executed: one that holds more than tensors and plain
# values is refused.
#
# ## Your own weights
#
# ```python
# load_model("sam", checkpoint="/data/fine_tuned.pth")           # the size is found from the file
# load_model("medsam_vit_b", checkpoint="/data/medsam_vit_b.pth")
# ```
#
# Any file whose tensors have the names and shapes of one of SAM's sizes will do, as a plain
# `state_dict` or wrapped as training scripts do it. In a notebook these are the parameters `models
# = "sam"` and `checkpoint = "/data/fine_tuned.pth"`. Rows and pages then say `sam (fine_tuned)`:
# weights that are not the registered ones never go by their name alone. MedSAM learned from boxes,
# so its figures with clicks are not those of its paper.
#
# ## Device and number format
#
# `device` is `cpu`, `cuda`, `cuda:1` or `mps`; without it the first of CUDA, MPS and CPU that is
# there. `dtype="bfloat16"` or `"float16"` holds SAM's image encoder in half the memory; clicks are
# decoded in `float32` all the same. RITM keeps `float32` weights and computes in the other format
# where that is safe. Either is faster only where the processor has instructions for it: without
# them, `float16` is several times slower than `float32`. Half precision rounds, so rows say
# `sam_vit_h (bfloat16)` and never share a mean with `sam_vit_h`. An image that overflows in
# `float16` stops the run with an error.
