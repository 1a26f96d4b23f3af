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
# # Segment Anything on medical images
#
# <p class="medsam-answer medsam-first">With one click SAM leads: mean IoU <strong>0.46</strong>,
# RITM 0.13. With nine RITM leads on <strong>17 of 18</strong> tasks of one class
# (<strong>0.80</strong> against 0.63), SAM on <strong>8 of 10</strong> of several
# (<strong>0.57</strong> against 0.48; published).</p>

# %% tags=["parameters"]
dataset = "ct_torso"  # a name of medsam_utils.DATASETS
cases = "ct_torso_z018 ct_torso_z036"  # which of its cases can be clicked on
stand_in = "ct_organ"  # the dataset, drawn if need be, where the first cannot be had
models = "mobile_sam"  # names of medsam_utils.MODELS, with spaces between: the first SAM answers
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
compute = ""  # device, workers, store and more, as medsam_utils.book.compute says
in_page = ""  # folder for what lets the page itself answer a reader's clicks; empty: it only shows

# %% tags=["hide-input"]
from IPython.display import display

from medsam_utils import Protocol, load_dataset
from medsam_utils.book import explorer
from medsam_utils.book.pages import comparison, page
from medsam_utils.book.runs import load_first_model
from medsam_utils.datasets import MissingDatasetError
from medsam_utils.evaluate import spread

answering, notes = load_first_model(models, compute=compute, kind="sam.Sam")
try:
    subject = load_dataset(dataset, data or None)
    references = [r for r in subject.list().references if r.case_id in str(cases).split()]
except MissingDatasetError as error:
    subject = load_dataset(stand_in, data or None)
    references = spread(subject.list().references, 3)
    notes.append(f"{error} {subject.title} stands in.")
shown = {answering.name: answering}
if notes or subject.level == "demo":
    display(page.banner([subject], shown, notes))

# %% tags=["remove-input"]
rule = Protocol(mask_choice="first", later_mask_choice="single", feedback=True)
explorer.at_once(subject, shown, references, rule, limit=300_000, in_page=in_page or None)

# %% tags=["hide-input"]
if not notes and subject.level != "demo":
    display(page.banner([subject], shown, notes))

# %% [markdown]
# Green: the truth. Red dashes: SAM's mask, the first of its three after one click, then its single
# one, [fed back](#which-mask). The same with [an image of yours](#own-image).
#
# ## What the study found

# %%
comparison.study_figure()

# %% [markdown]
# Mazurowski et al. asked in 2023 how well the Segment Anything Model (SAM) segments medical images
# when a simulated user clicks where the mask is most wrong. All numbers of this section are
# **published**: the journal version's 28 tasks, each weighing the same.
#
# - **It depends on the object.** With one click SAM ranges from 0.11 (grey matter of the spinal
#   cord, MRI) to 0.87 (spleen, CT).
# - **On tasks of one class RITM, made for correction by clicks, passes SAM at click 4.**
# - **On tasks of several classes SAM stays ahead.** There the study's released code calls [a click
#   on a neighbouring organ positive](#the-label-rule), for every method.
# - **The first preprint, with eleven datasets, finds both similar** with nine clicks: on its 18
#   tasks 0.62 for SAM and 0.64 for RITM, on all 28 tasks 0.61 and 0.69.
#
# ::::{grid} 1 1 3 3
# :gutter: 2
#
# :::{grid-item-card} All 28 tasks
# :link: all-tasks
# :link-type: ref
#
# Each object, SAM and RITM with 1, 3 and 9 clicks, to sort.
# :::
#
# :::{grid-item-card} Run it on my images
# :link: your-own-folder
# :link-type: ref
#
# A folder of images and masks, one command, a chapter of your own.
# :::
#
# :::{grid-item-card} Can I trust it?
# :link: how-sure
# :link-type: ref
#
# Intervals, limits, and where code and paper differ.
# :::
# ::::
#
# This book is a program: [`make book`](#run-it-yourself) executes every page again, on your
# datasets or images. Licence: Apache-2.0. [Cite and reuse](../reuse.md).
#
# ## Start here
#
# - **Clinician**: your modality ([MRI](mri.ipynb), [X-ray](xray.ipynb),
#   [ultrasound](ultrasound.ipynb), [CT](ct.ipynb), [PET](pet_liver.ipynb)), then [what clicks
#   save](#annotation-effort) and [when it fails](#several-regions).
# - **Statistician**: [the comparison](#the-comparison), [how sure the numbers are](#how-sure),
#   [which rule decides](#the-switchboard).
# - **Developer**: [two commands](#run-it-yourself), [the package](#api), [which of SAM's
#   masks](#which-mask), [fine-tuning](#fine-tuning).
#
# ## Three levels of truth
#
# Every number carries one of three labels, and none is ever averaged with another.
#
# published
# : The study's own value, from [the authors' tables](#the-published-numbers).
#
# measured on your data
# : Computed here, on real images. Where a model made the masks, it says so beside the level.
#
# demo
# : Computed here, on **phantoms**: images that a program draws in each dataset's own file format.
#   They show that every step works, and say nothing about medicine.
#
# Out of the box the book shows a real CT and `mobile_sam`, a SAM whose weights come in a package;
# the study's own datasets are phantoms until you have them.
