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
# <p class="medsam-answer medsam-first">With one click the study's SAM reaches a mean IoU of
# <strong>0.46</strong>, with nine <strong>0.61</strong> (published, 28 tasks). Try it on an
# image.</p>

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
from medsam_utils.book.pages import page
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

# %% [markdown]
# The green outline is what counts as the truth, the red dashes are the model's mask. After the
# first click the first of SAM's three masks counts, after later ones the single mask that it then
# makes, and it is given its last mask again: why so is told in [which mask, and with its last mask
# or without](#which-mask).

# %% tags=["hide-input"]
if not notes and subject.level != "demo":
    display(page.banner([subject], shown, notes))

# %% [markdown]
# How well does a promptable segmentation model, which has seen photographs and is shown a click,
# segment a medical image? And how much does each further click help?
#
# Mazurowski et al. asked this of the Segment Anything Model (SAM) in 2023, with a simulated user
# who clicks where the mask is most wrong. This book is that experiment as a program: every page
# of numbers is a notebook that was executed, and [two commands](#run-it-yourself) execute it
# again, on the same kind of images or on yours.
#
# ## What the study found
#
# All numbers of this section are **published**: they are the authors' released values (see [their
# source](#the-published-numbers)), means of the intersection over union (IoU) over 28 tasks, each
# task weighing the same.
#
# | Model | 1 click | 3 clicks | 5 clicks | 9 clicks |
# | --- | ---: | ---: | ---: | ---: |
# | SAM | 0.460 | 0.567 | 0.597 | 0.611 |
# | RITM | 0.132 | 0.454 | 0.596 | 0.688 |
#
# - **It depends on the task.** With one click SAM ranges from 0.11 (grey matter of the spinal
#   cord, MRI) to 0.87 (spleen, CT; ilium, X-ray). Large objects with a clear outline do well,
#   tumours and thin structures do not.
# - **The first clicks help most.** Two more clicks after the first add 0.11 on average, six more
#   after those 0.04.
# - **RITM, a model made for correction by clicks, starts behind and passes.** SAM leads on 26 of
#   the 28 tasks with one click, on 9 with nine.
#
# The published scripts differ from the published algorithm in several ways. [Algorithm 1, step by
# step](#the-protocol) shows the algorithm, and lists the differences. Which of SAM's masks
# counts, and whether it is given its last mask again, has [a chapter of its own](#which-mask).
# What the models are, and what clinicians and researchers could use them for, is [the next
# page](../sam.md).
#
# ## Three levels of truth
#
# Every number in this book carries one of three labels, and none is ever averaged with another.
#
# published
# : The study's own value, from the authors' tables.
#
# measured on your data
# : Computed here, on real images: a dataset of the study that you have, a folder of your own, or
#   images that come in a package. Where a model made the masks, it says so beside the level.
#
# demo
# : Computed here, on **phantoms**. This book passes on no dataset of the study, so a program
#   draws images and writes them in each dataset's own file format. Demo numbers show that
#   every step works. They are no statement about medicine, and pages that show them begin with a
#   box that says so.
#
# Out of the box the book shows a real CT and a SAM whose weights come in a package, `mobile_sam`;
# the study's own datasets are phantoms until you have them. `sam_small`, which stands in where
# there is no network, and `ritm_small` are built as SAM and RITM are, in small, and were trained
# by this project on drawings alone; GrabCut is a classical method that needs no training at all.
#
# ## How to read it
#
# A page asks one question and answers it in one sentence. Then come the figure, what an IoU looks
# like in pictures, the table, how it was computed, what is left out and why, and what the number
# cannot tell. The last section of each page is the command that makes it again, and the rows
# behind its numbers to download. Each step stands there with its code.
#
# The chapters go by modality: first its datasets together, then one chapter for each. After them
# come the questions that cross datasets: [the comparison with the study](#the-comparison),
# [examples of all](#the-examples), objects of several regions, [what a model knows of its
# masks](#size-and-confidence), [which rule of the protocol decides](#the-switchboard). Then [how
# sure the numbers are](#how-sure), [what they cannot tell](../limits.md), and ways of using such
# a model that go beyond the study. Words that the field uses in its own way are in the
# [glossary](../glossary.md).
#
# ## Reference
#
# {cite:t}`mazurowski2023`, *Medical Image Analysis* 89, 102918; preprint [arXiv
# 2304.10517](https://arxiv.org/abs/2304.10517). All others are under
# [References](../references.md).
