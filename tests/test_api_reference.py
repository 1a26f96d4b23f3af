"""The API reference: its example runs as it stands, and no module of the core is left out of it."""

import re
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import medsam_utils

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "book/api").glob("*.md"))
PACKAGE = Path(medsam_utils.__file__).parent
INSIDE = re.compile(  # how files are found, fetched, unpacked and read: for whoever changes it
    r"cache|contents|download|files|packages|machine|datasets\.(entries.*|fetch|listings"
    r"|nrrd_file|reading|sources"
    r"|unpack)|models\.(compare_weights|medsam_pixels|mobile_sam|onnx_encoder|onnx_weights"
    r"|ritm_network|ritm_small|sam_onnx|sam_small|simpleclick_network|fast)"
)


def test_the_example_draws_curves_and_the_three_worst_cases_of_a_folder(tmp_path, monkeypatch):
    for folder in ("images", "masks"):
        (tmp_path / "my_study" / folder).mkdir(parents=True)
    for number in range(3):
        mask = np.zeros((48, 40), np.uint8)
        mask[10 : 20 + 4 * number, 8 : 24 + 3 * number] = 255
        noise = np.random.default_rng(number).integers(0, 60, mask.shape)
        for folder, picture in (("images", mask // 2 + noise), ("masks", mask)):
            path = tmp_path / "my_study" / folder / f"{number}.png"
            Image.fromarray(picture.astype(np.uint8)).save(path)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "book/api/index.md").read_text(), re.DOTALL
    )
    names: dict = {}
    exec(code, names)
    last = names["rows"][names["rows"]["click"] == 3]
    assert names["row"].iou == last["iou"].max() and len(last) == 6  # worst first, all three shown
    assert names["row"].iou == medsam_utils.iou(
        names["mask"], names["case"].masks[names["class_name"]]
    )
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == sorted(
        ["curves.svg", *(f"{m}, {i}.svg" for m in ("sam_small", "grabcut") for i in range(3))]
    )


def test_a_dataset_of_another_layout_is_read_by_its_entry(tmp_path, monkeypatch):
    for folder, suffix in (("image", "jpg"), ("label", "png")):
        (tmp_path / "thyroid" / folder).mkdir(parents=True)
        for key in ("1_1", "1_2", "2_1"):
            picture = np.zeros((40, 48), np.uint8)
            picture[10:24, 12:30] = 255
            Image.fromarray(picture).save(tmp_path / "thyroid" / folder / f"{key}.{suffix}")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "book/api/data.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    first = names["rows"][names["rows"]["click"] == 1]
    assert first["case_id"].tolist() == ["1_1", "1_2", "2_1"]
    assert first["patient_id"].tolist() == ["1", "1", "2"]
    assert names["dataset"].load("1_1").masks["nodule"].sum() == 14 * 18


def test_every_module_of_the_core_is_on_a_page_and_every_page_in_the_contents():
    documented = re.findall(
        r"automodule:: medsam_utils\.(\S+)", "".join(map(Path.read_text, PAGES))
    )
    core = {
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in ("book", "demo", "workflows")
    }
    modules = {name.removesuffix(".__init__") for name in core} - {"__init__"}
    wanted = {name for name in modules if not INSIDE.fullmatch(name)}
    assert len(documented) == len(set(documented))
    assert wanted == set(documented) - {"demo"}
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    (chapters,) = (part["chapters"] for part in toc["parts"] if part["caption"] == "API")
    assert {chapter["file"] for chapter in chapters} == {f"book/api/{page.stem}" for page in PAGES}
