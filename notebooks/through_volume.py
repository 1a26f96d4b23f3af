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
# SAM sees one slice at a time. When it has an object in one slice, can its own mask prompt the next
# slice, and so on to both ends, and how many clicks does that save?

# %% tags=["parameters"]
datasets = "mri_prostate mri_heart ct_spleen"  # names of datasets of volumes, with spaces between
folder = ""  # your own data instead: a folder with images/ and masks/ of volumes
data = ""  # folder of real datasets; empty: the environment's MEDSAM_DATA
models = "mobile_sam"  # names of medsam_utils.MODELS, with spaces between
checkpoint = ""  # weights file to use instead of the registry's, for the first of `models`
ways = "mask, box, click, box and click, click and mask"  # what of a slice's mask prompts the next, with commas
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
import time
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from medsam_utils import plots
from medsam_utils.book.pages import figures, page
from medsam_utils.book.pages.record import made_by
from medsam_utils.book.pages.runs import answers, datasets_of, given
from medsam_utils.boxed_mask import BoxedMask
from medsam_utils.case import BadInputError
from medsam_utils.comparison import CHANGE, compare_ways
from medsam_utils.metrics import dice
from medsam_utils.run_record import versions
from medsam_utils.workflows.propagation import (
    Propagation,
    click_slices,
    prompted_slices,
    propagate,
    volume_objects,
)

parameters = given(globals())

# %% tags=["hide-input"]
subjects = datasets_of(datasets, folder, data)
iou, area = {"least_iou": least_iou}, {"most_change": most_change}
rules = {"never": {}, "predicted IoU": iou, "area": area, "both": iou | area}
if stop not in rules:
    raise BadInputError(f"stop {stop!r} is unknown: choose {', '.join(rules)}")
ways = [way.strip() for way in ways.split(",")]
order = sorted(rules, key=lambda rule: rule != stop)  # the one that was asked for first
carries = {(way, rule): Propagation(way, **rules[rule]) for rule in order for way in ways}
EVERY = "every slice"  # the way that carries nothing: Algorithm 1 in each slice


# %% tags=["hide-input"]
def segmented(stack, model, protocol):
    """An object of a volume in every way: way, stop rule, round, slices prompted, clicks spent, and
    masks."""
    encoded = [model.encode(case.image) for case in stack.cases]
    answered = click_slices(stack, model, encoded, protocol, clicks)
    areas = [truth.area for truth in stack.truths]
    for n in range(clicks):  # its rounds are clicks
        empty = BoxedMask.from_mask(np.zeros_like(stack.cases[0].image[..., 0], bool))
        masks = [answered[i][n][0] if i in answered else empty for i in range(len(areas))]
        yield EVERY, "", n, len(answered), len(answered) * (n + 1), masks
    for (way, rule), carry in carries.items():
        for n in range(1 + (rounds if rule == stop else 0)):
            places = prompted_slices(areas, n)
            masks = propagate(model, encoded, {i: answered[i][-1] for i in places}, carry)
            yield way, rule, n, len(places), len(places) * clicks, masks


# %% tags=["hide-input"]
def evaluate(dataset, model, protocol):
    """A row for every object of a volume, way, stop rule and round, with the record of the run."""
    clock, lines = time.perf_counter(), []
    of_run = {"dataset": dataset.name, "level": dataset.level, "protocol": protocol.name}
    of_run |= {"model": model.name, "weights": model.weights}
    for stack in volume_objects(dataset, beyond, max_volumes):
        of_stack = {
            "task": stack.task,
            "volume": stack.volume,
            "patient_id": stack.cases[0].patient_id,
        }
        of_stack["slices"] = sum(truth.area > 0 for truth in stack.truths)
        for *facts, masks in segmented(stack, model, protocol):
            facts = zip(("way", "stop", "round", "prompted", "spent"), facts, strict=True)
            lines.append(of_run | of_stack | dict(facts) | stack.scores(masks))
    rows = pd.DataFrame(lines)
    volumes, seconds = rows["volume"].nunique(), round(time.perf_counter() - clock, 3)
    settings = {
        "dataset": dataset.settings(),
        "model": model.settings(),
        "clicks": clicks,
        "beyond": beyond,
    }
    settings |= {"rounds": rounds, "carries": list(map(repr, carries.values()))}
    rows.attrs["record"] = {
        "device": str(getattr(model, "device", "cpu")),
        "cases": volumes,
        "computed": volumes,
    }
    rows.attrs["record"] |= {"seconds": seconds, "versions": versions(), "settings": settings}
    return rows


asked = (subjects, models, checkpoint, protocol, device, dtype, embeddings)
runs = answers(evaluate, *asked, stand_ins=["sam_small"])
rows = runs.rows


# %% tags=["hide-input"]
def summary(rows):
    """Mean Dice of every way, stop rule and round of a model, and minus that of the best with one
    slice."""
    rows = rows.assign(case_id=rows["dataset"] + "/" + rows["task"] + "/" + rows["volume"])
    rows["patient_id"] = rows["dataset"] + "/" + rows["patient_id"]
    rows["key"] = list(zip(rows["way"], rows["stop"], rows["round"], strict=True))
    single = rows[(rows["round"] == 0) & (rows["way"] != EVERY)]
    best = single.groupby("key", sort=False)["dice"].mean().idxmax()
    table = compare_ways(rows, best, ["model", "level"], way="key", value="dice")
    others = rows.groupby("key", sort=False)[["spent", "hd95", "surface"]].mean()
    table = table.merge(others, left_on="key", right_index=True).assign(best=table["key"] == best)
    table[["way", "stop", "round"]] = table["key"].tolist()
    return table


tables = [summary(of_model) for _, of_model in rows.groupby(["model", "level"], sort=False)]
parts = []
for table in tables:
    best, every = table[table["best"]].iloc[0], table[table["way"] == EVERY].iloc[-1]
    parts.append(
        f"With <strong>{escape(best['model'])}</strong>, {best['spent']:.0f} clicks in one slice, carried on "
        f"as {best['way']} (stop rule: {best['stop']}), give a mean Dice of "
        f"<strong>{page.with_interval(*best[['dice', 'low', 'high']], '.2f')}</strong> (objects through a "
        f"volume: {best['objects']}); as many in every slice, {every['spent']:.0f} clicks, "
        f"<strong>{every['dice']:.2f}</strong>, a difference of {page.with_interval(*every[CHANGE], '+.2f')} "
        f"({figures.LEVELS[best['level']]})"
    )
display(page.banner(subjects, runs.models, runs.notes), page.sentence(*parts))

# %% [markdown]
# ## Dice against clicks spent
#
# The dashed line clicks in every slice, once, twice and so on. The others click in the slice where
# the object is largest and carry the mask on; then also in the middle of both halves, then in the
# middle of every gap that is left. Dice is of the whole volume, as one object.


# %% tags=["hide-input"]
def draw(axes, table):
    """A line for each way; dashes where every slice is clicked."""
    for i, (way, line) in enumerate(table.groupby("way", sort=False)):
        style = {"color": plots.COLOURS[(i - 1) % 5], "marker": plots.MARKERS[i % 7], "ms": 5}
        style |= {"color": plots.INK, "linestyle": "--"} if way == EVERY else {}
        axes.plot(line["spent"], line["dice"], label=way, **style)
    axes.set(
        ylim=(0, 1),
        xlim=(0, None),
        xlabel="clicks in the whole volume",
        ylabel="Dice of the volume",
    )
    axes.figure.legend(loc="outside lower left", ncols=3, frameon=False, labelcolor=plots.INK)
    points = table.assign(
        text=[f"{y:.2f} with {x:.1f}" for x, y in table[["spent", "dice"]].to_numpy()]
    )
    texts = points.groupby("way", sort=False)["text"].agg(", ".join)
    return "; ".join(f"{way} {text} clicks" for way, text in texts.items())


shown = pd.concat(tables)
shown = shown[shown["stop"].isin([stop, ""])]
figures.panels(
    shown,
    ["model", "level"],
    "Line plot of Dice against clicks in the volume",
    draw,
    (5.2, 3.6),
    420,
)

# %% [markdown]
# ## What to carry, and when to stop
#
# *Mask* gives the next slice the last one's low-resolution logits, *box* the box round its mask, *click* the
# pixel that is deepest inside. With one slice prompted, under four rules: the object ends where the
# predicted IoU is low, where the area jumps, where either happens, or only where the mask is empty
# (never). HD95 and the mean surface distance are in mm. Brackets hold 95 % intervals, patients
# resampled; differences are paired, volume by volume.

# %% tags=["hide-input"]
shown = pd.concat(tables)
shown = shown[(shown["round"] == 0) | (shown["way"] == EVERY)]
shown["clicks"] = shown["spent"].map("{:.1f}".format)
names = {"dice": "Dice", "difference": "Dice, minus the best carried", "hd95": "HD95, mm"}
shown = page.with_intervals(shown, value="dice", form=".2f").rename(
    columns=names | {"surface": "surface, mm"}
)
columns = ["model", "level", "way", "stop", "objects", "patients", "clicks", "Dice"]
page.numbers_table(shown[[*columns, "Dice, minus the best carried", "HD95, mm", "surface, mm"]])

# %% [markdown]
# ## One volume, slice by slice
#
# The volume whose Dice is the median under the way that does best. Green line: the truth. Red
# dashes: the mask.

# %% tags=["hide-input"]
best = tables[0][tables[0]["best"]].iloc[0]
same = (
    rows[["model", "level", "way", "stop", "round"]]
    == best[["model", "level", "way", "stop", "round"]]
)
of_best = rows[same.all(axis=1)].sort_values("dice")
record = of_best.iloc[len(of_best) // 2]
carry, model = carries[best["way"], best["stop"]], runs.models[best["model"]]
subject = runs.datasets[record["dataset"]]

wanted = (record["volume"], record["task"])
stack = next(one for one in volume_objects(subject, beyond) if (one.volume, one.task) == wanted)
encoded = [model.encode(case.image) for case in stack.cases]
(start,) = prompted_slices([truth.area for truth in stack.truths], rounds=0)
clicked_ones = {start: click_slices(stack, model, encoded, runs.protocol, clicks)[start][-1]}

# %% tags=["hide-input"]
pictures = []
for i, mask in enumerate(propagate(model, encoded, clicked_ones, carry)):
    truth = stack.truths[i]
    fit = f"Dice {dice(mask, truth):.2f}" if truth.area or mask.area else "empty, as it should be"
    text = f"{f'{abs(i - start)} away' if i != start else 'clicked'}: {fit}"
    alt = "Slice with the true and the carried contour, "
    masks = truth.mask(), mask.mask()
    pictures.append(figures.picture(stack.cases[i].image, text, *masks, alt=alt, width=120))
title = f"{stack.task}, {stack.volume}, {model.name}, carried as {carry.way}, {figures.LEVELS[subject.level]}"
HTML(figures.group(f"{title}: Dice of the volume {record['dice']:.2f}", pictures))

# %% [markdown]
# ## How
#
# In a slice that is prompted, Algorithm 1 places its clicks. The mask that SAM is most sure of then
# prompts the slices on both sides, whose masks prompt the next, up to the stop rule; between two
# prompted slices each goes half of the way. Slices past the ends of the object take part, so a mask
# that runs on costs Dice. SAM itself is unchanged and knows nothing of depth.

# %% [markdown]
# ## Limits
#
# - The simulated user knows where the object is largest and where it ends. A person has to look for
#   that.
# - The way that is named first is the best of those that were tried, on the same volumes: on new
#   ones it may lose a little.
# - Few slices past each end are looked at (`beyond` in the parameters); without a stop rule a mask
#   could run on further.
# - The embedded `sam_small` never learned from boxes or from a mask without clicks, so that those
#   ways fail here says nothing about the released SAM.
# - Models that were trained on videos, such as SAM 2, carry a memory instead of a prompt. They are
#   not here.

# %% [markdown]
# ## How this page was made

# %% tags=["hide-input"]
made_by("through_volume", parameters, runs.tables, runs.protocol)
