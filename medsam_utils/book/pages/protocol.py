"""The protocol as a table: every field, what it means, and where the presets differ."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping

import pandas as pd

from ...clicks import Protocol
from .. import show
from ..show import Table


def fields(presets: Mapping[str, Protocol]) -> pd.DataFrame:
    """Return every field of `Protocol`, its value in each preset, and what it means.

    Columns: field, one for each preset, meaning.
    """
    items = re.findall(r"^- (\w+): (.*?)(?=^- |\Z)", inspect.getdoc(Protocol), re.M | re.S)
    meanings = {name: " ".join(note.split()) for name, note in items}
    names = [field.name for field in dataclasses.fields(Protocol)]
    values = {
        preset: [str(getattr(protocol, name)) for name in names]
        for preset, protocol in presets.items()
    }
    return pd.DataFrame(
        {
            "field": names,
            **values,
            "meaning": [meanings[name][:1].upper() + meanings[name][1:] for name in names],
        }
    )


def table(fields: pd.DataFrame) -> Table:
    """Return fields as a table in which those stand out whose values differ.

    fields: of `fields`.
    """
    presets = list(fields.columns[1:-1])
    differs = fields[presets].nunique(axis=1) > 1
    shown = fields.assign(field=[f"`{name}`" for name in fields["field"]])
    for preset in presets:
        values = ("`" + fields[preset] + "`").where(fields[preset] != "", "")
        shown[preset] = values.mask(differs, "**" + values + "**")
    return show.table(shown, fold=False, kind="medsam-words medsam-fields")
