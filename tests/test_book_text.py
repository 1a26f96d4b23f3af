"""The book's text: addresses lead somewhere, short names stand in the glossary, chapters have
take-aways."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import jupytext
import pytest
import yaml

from medsam_utils import published
from medsam_utils.book.pages import passport
from medsam_utils.book.pages.tasks import CHAPTERS
from medsam_utils.datasets import DATASETS

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page["page"]: page for page in yaml.safe_load((ROOT / "runs.yml").read_text())["pages"]}
PROSE = sorted((ROOT / "book").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))
CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def prose(path: Path) -> str:
    """The Markdown of a page or notebook, without code."""
    if path.suffix == ".md":
        text = path.read_text("utf-8")
    else:
        cells = jupytext.read(path).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return CODE.sub("", text.replace("```{glossary}", ""))


TEXTS = {path.name: prose(path) for path in [*PROSE, *NOTEBOOKS]}
LABELS = set(re.findall(r"^\(([\w-]+)\)=$", "\n".join(TEXTS.values()), re.MULTILINE)) | {
    label
    for path in (ROOT / "book/api").glob("*.md")
    for label in re.findall(r"^\(([\w-]+)\)=$", path.read_text("utf-8"), re.MULTILINE)
}


def well_formed(address: str) -> bool:
    """Whether a text is a whole address and nothing else."""
    parts = urlsplit(address)
    host = re.fullmatch(r"[\w.-]+\.[a-z]{2,}", parts.hostname or "")
    return bool(host) and not re.search(r"[\s,;<>\"]|[.:)]$", address)


@pytest.mark.parametrize("name", TEXTS)
def test_every_external_address_is_whole_and_holds_no_prose(name):
    addresses = re.findall(r"https?://[^\s)\]>]+", TEXTS[name])
    assert [address for address in addresses if not well_formed(address.rstrip(".,;"))] == []
    assert re.findall(r"\]\((https?://[^)]*\s[^)]*)\)", TEXTS[name]) == []


def test_every_address_of_a_passport_is_whole_and_what_stands_behind_it_is_no_part_of_it():
    for dataset in DATASETS.values():
        shown = passport.passport(dataset).html
        links = re.findall(r'href="([^"]*)"', shown)
        assert [link for link in links if not well_formed(link)] == [], dataset.name
        assert len(links) >= dataset.passport.home.count("http")


@pytest.mark.parametrize("name", TEXTS)
def test_every_internal_link_has_a_target(name):
    targets = re.findall(r"\]\(([^)\s]+)\)", TEXTS[name])
    refs = re.findall(r"^:link: (\S+)\n:link-type: ref", TEXTS[name], re.MULTILINE)
    dead = [f"#{label}" for label in refs if label not in LABELS]
    for target in targets:
        path, _, label = target.partition("#")
        if target.startswith("http"):
            continue
        base = ROOT / "book" / ("pages" if name.endswith(".py") else "")
        if path.endswith(".ipynb"):
            found = (base / path).stem in PAGES
        else:
            found = not path or Path(os.path.normpath(base / path)).is_file()
        if not found or (label and not path and label not in LABELS):
            dead.append(target)
    assert dead == []


def contents() -> list[str]:
    """Files of the table of contents, in order."""
    return re.findall(r"file: (\S+)", (ROOT / "_toc.yml").read_text("utf-8"))


def test_the_contents_name_every_page_once_and_none_that_is_missing():
    files = contents()
    assert len(files) == len(set(files))
    pages = {Path(file).name for file in files if file.startswith("book/pages/")} | {"start"}
    assert pages == set(PAGES)
    assert [f for f in files if "/pages/" not in f and not (ROOT / f"{f}.md").is_file()] == []


def test_results_stand_before_the_atlas_of_datasets():
    files = contents()
    place = {name: files.index(f"book/pages/{name}") for name in ("tasks", "comparison", "mri")}
    assert place["tasks"] < place["comparison"] < place["mri"]
    assert files.index("book/pages/label_rule") == files.index("book/pages/comparison") + 1


def glossary() -> str:
    return (ROOT / "book/glossary.md").read_text("utf-8")


# Formats, programs, licences and journals, which need no entry to be read.
COMMON = """
CC BY SA MIT GPL JPEG PNG TIFF NIfTI NRRD DICOM COCO CSV SVG PDF HTML JSON ONNX CUDA GPU GPUs CPU
MPS AMX ID MB WSL GB TinyViT PyTorch TeX AdamW JupyterLab GitHub RGB API TotalSegmentator URL OpenCV
GiB WebP BMP GIF PGM PPM EXIF RTSTRUCT SEG MetaImage FreeSurfer
Dask SimpleITK PBS LSF SGE NumPy SciPy TO DATA MODELS FOLDER
"""


def test_every_short_name_of_a_task_is_in_the_glossary():
    names = {
        short
        for task in published.click_table()["task"].unique()
        for short in re.findall(r"\b[A-Z]{2,}\b|\bCore\b|\bEdema\b", task)
    }
    assert {"GD", "GM", "SC", "FGT", "PET"} <= names
    assert {name for name in names if f"\n{name}\n" not in glossary()} == set()


def test_every_short_name_of_the_prose_is_in_the_glossary():
    found = {
        short
        for name, text in TEXTS.items()
        if name != "glossary.md"
        for short in re.findall(
            r"(?<![\w/.-])[A-Z][A-Za-z]*[A-Z][A-Za-z]*(?![\w/])",
            re.sub(r"https?://\S+|\{[\w:]+\}", "", text),
        )
        if not short.istitle()
    }
    words = set(re.findall(r"[\w-]+", glossary())) | set(re.findall(r"\w+", glossary()))
    assert {
        s for s in found - set(COMMON.split()) if s not in words and s.rstrip("s") not in words
    } == set()


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ("start", "datasets")])
def test_a_chapter_ends_with_three_take_aways(page):
    name = Path(PAGES[page]["notebook"]).name
    if name == "models.py":
        pytest.skip("a page to look things up")
    (section,) = re.findall(
        r"^## Take-aways\n(.*?)(?=^#|\Z)", TEXTS[name], re.DOTALL | re.MULTILINE
    )
    assert len(re.findall(r"^- ", section, re.MULTILINE)) == 3


def test_the_table_of_tasks_links_to_chapters_that_are_there():
    titles = {dataset.title for dataset in DATASETS.values()}
    assert set(CHAPTERS) <= titles and set(CHAPTERS.values()) <= set(PAGES)


def test_what_must_be_known_of_a_dataset_is_in_its_title_or_on_its_page():
    assert "made out of CT by a network" in PAGES["us_kidney"]["title"]
    assert "overview.notes" in (ROOT / "notebooks/dataset.py").read_text("utf-8")
