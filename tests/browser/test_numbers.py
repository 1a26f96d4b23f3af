"""Numbers on built pages, traced back: cell of a table -> rows that the page offers -> stored
rows."""

from __future__ import annotations

import base64
import io
import random
from pathlib import Path
from urllib.parse import quote

import pandas as pd
import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "_build/html/book/pages").glob("*.html"))


def rows_behind(page: BeautifulSoup) -> pd.DataFrame:
    (link,) = page.select('a[download$=".parquet"]')
    return pd.read_parquet(io.BytesIO(base64.b64decode(link["href"].split("base64,")[1])))


def tables_of_means(page: BeautifulSoup) -> list[dict[str, str]]:
    """Lines of the page's tables that have task, model, level and a mean IoU, but for published
    ones."""
    lines = []
    for table in page.select(".medsam-table table"):
        head = [cell.text.strip() for cell in table.select("thead th")]
        if {"task", "model", "level", "IoU@1", "NoC@80 (never)"} <= set(head):
            cells = (
                [cell.text.strip() for cell in line("td")] for line in table.select("tbody tr")
            )
            lines += [dict(zip(head, line, strict=True)) for line in cells]
    return [line for line in lines if line["level"] != "published"]


@pytest.mark.skipif(not PAGES, reason="the book is not built: make book")
def test_three_random_cells_of_three_random_pages_follow_from_the_stored_rows():
    chance, traced = random.Random(len(PAGES)), 0
    for path in chance.sample(PAGES, len(PAGES)):
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        lines = tables_of_means(page)
        if not lines or traced == 3:
            continue
        traced += 1
        rows = rows_behind(page)
        for line in chance.choices(lines, k=3):
            click = int(chance.choice([name for name in line if name.startswith("IoU@")])[4:])
            mine = rows[(rows["task"] == line["task"]) & (rows["model"] == line["model"])]
            shown = mine[mine["click"] == click]
            assert line[f"IoU@{click}"] == f"{shown['iou'].mean():.3f}", (path.name, line)
            assert int(line["objects"]) == len(shown)
            stored = of_store(mine.iloc[0])
            found = shown.merge(stored, on=["task", "case_id", "click", "iou", "row", "col"])
            assert found["case_id"].nunique() == shown["case_id"].nunique(), (path.name, line)
    assert traced == 3


def of_store(row: pd.Series) -> pd.DataFrame:
    """Everything that is stored of a row's dataset, model and protocol."""
    names = (quote(row[name], safe=" ,=()") for name in ("dataset", "model", "protocol"))
    return pd.concat(
        pd.read_parquet(part) for part in (ROOT / "results").joinpath(*names).glob("*.parquet")
    )
