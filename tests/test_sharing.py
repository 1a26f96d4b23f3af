"""Archives of rows: equal after a journey, and refused with the reason if anything was changed."""

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsam_utils import evaluate, load_folder, load_model
from medsam_utils.book import sharing
from medsam_utils.book.sharing import MANIFEST, added_tables, read_archive, recompute, share
from medsam_utils.case import BadInputError


def drawn(folder: Path):
    """A dataset of three drawn images with an object each."""
    for number in range(3):
        mask = np.zeros((40, 48), np.uint8)
        mask[8 : 20 + 4 * number, 10 : 30 + 2 * number] = 255
        noise = np.random.default_rng(number).integers(0, 90, mask.shape)
        for part, picture in (("images", mask // 2 + noise), ("masks", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(folder / part / f"{number}.png")
    return load_folder(folder, "drawn")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Folder with an archive of a run, its rows, its dataset and model."""
    folder = tmp_path_factory.mktemp("run")
    dataset, model = drawn(folder / "drawn"), load_model("grabcut")
    rows = evaluate(dataset, model, clicks=3, store=folder / "store", executor=None)
    identity = share([rows], folder / "rows.zip")
    return folder, rows, dataset, model, identity


def test_rows_come_back_as_they_were_with_their_record(run):
    folder, rows, _, _, identity = run
    found, (table,) = read_archive(folder / "rows.zip", identity[:12])
    assert found == identity
    pd.testing.assert_frame_equal(table, rows)
    assert table.attrs["record"]["settings"] == json.loads(
        json.dumps(rows.attrs["record"]["settings"], default=list)
    )
    assert table.attrs["fingerprints"] == rows.attrs["fingerprints"]


def test_equal_runs_give_equal_archives(run):
    folder, rows, *_ = run
    share([rows], folder / "again.zip")
    assert (folder / "again.zip").read_bytes() == (folder / "rows.zip").read_bytes()


def test_an_archive_tells_nothing_of_the_machines_folders(run):
    folder, *_ = run
    with zipfile.ZipFile(folder / "rows.zip") as archive:
        assert all(str(folder).encode() not in archive.read(name) for name in archive.namelist())


def test_a_sample_computed_again_is_equal_and_other_rows_are_told(run):
    folder, _, dataset, model, _ = run
    _, (table,) = read_archive(folder / "rows.zip")
    assert recompute(table, dataset, model) == 0
    changed = table.assign(iou=table["iou"] * 0.9)
    changed.attrs = table.attrs
    assert recompute(changed, dataset, model) > 0.01


def test_rows_are_computed_again_where_data_and_weights_are_at_hand(run, monkeypatch):
    folder, _, dataset, model, _ = run
    _, (table,) = read_archive(folder / "rows.zip")
    monkeypatch.setattr(sharing, "load_datasets", lambda name, data: [dataset])
    monkeypatch.setattr(sharing, "load_model", lambda name: model)
    assert sharing._check_sample(table, None).startswith("2 cases computed again")
    changed = table.assign(iou=table["iou"] * 0.9)
    changed.attrs = table.attrs
    with pytest.raises(BadInputError, match="these rows are not of this data"):
        sharing._check_sample(changed, None)
    other = table.assign(weights="0" * 64)
    other.attrs = table.attrs
    assert "its weights are others" in sharing._check_sample(other, None)


def test_rows_that_were_added_stand_under_the_name_of_their_origin(run):
    folder, rows, *_ = run
    (folder / "added").mkdir()
    share([rows], folder / "added/hospital A.zip")
    tables = added_tables(folder / "added")
    assert list(tables) == [("drawn", "grabcut (hospital A)")]
    assert set(tables["drawn", "grabcut (hospital A)"]["model"]) == {"grabcut (hospital A)"}
    assert added_tables(folder / "nowhere") == {}


# ---- Kinds of tampering


def parts(folder: Path) -> tuple[dict, dict[str, bytes]]:
    with zipfile.ZipFile(folder / "rows.zip") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(contents.pop(MANIFEST)), contents


def write(file: Path, manifest: dict | bytes, contents: dict[str, bytes], comment=None) -> None:
    """Write an archive whose own hash is right unless another one is given."""
    text = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in {MANIFEST: text, **contents}.items():
            archive.writestr(name, content)
        archive.comment = hashlib.sha256(text).hexdigest().encode() if comment is None else comment


def with_rows(change):
    """Rows that a function changes, with all hashes made right again."""

    def tamper(file: Path, manifest: dict, contents: dict[str, bytes]) -> None:
        rows = change(pd.read_parquet(io.BytesIO(contents["0.parquet"])))
        content = rows.to_parquet(index=False)
        manifest["runs"][0]["sha256"] = hashlib.sha256(content).hexdigest()
        write(file, manifest, {"0.parquet": content})

    return tamper


def with_manifest(change):
    """A manifest that a function changes, with the archive's hash made right again."""

    def tamper(file: Path, manifest: dict, contents: dict[str, bytes]) -> None:
        write(file, change(manifest) or manifest, contents)

    return tamper


def with_settings(**changes):
    def change(manifest: dict) -> None:
        settings = manifest["runs"][0]["record"]["settings"]
        for path, value in changes.items():
            *parents, last = path.split("__")
            place = settings
            for name in parents:
                place = place[name]
            place[last] = value

    return with_manifest(change)


def at(rows: pd.DataFrame, line: int, **values) -> pd.DataFrame:
    rows = rows.copy()
    for name, value in values.items():
        rows.loc[line, name] = value
    return rows


def flip_a_byte(file, manifest, contents):
    write(file, manifest, contents)
    content = bytearray(file.read_bytes())
    content[content.index(b"PAR1") + 100] ^= 1
    file.write_bytes(bytes(content))


def cut(file, manifest, contents):
    write(file, manifest, contents)
    file.write_bytes(file.read_bytes()[:-500])


def twice(file, manifest, contents):
    write(file, manifest, contents)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("0.parquet", contents["0.parquet"])


def both_runs(file, manifest, contents):
    manifest["runs"].append({**manifest["runs"][0], "rows": "1.parquet"})
    write(file, manifest, contents | {"1.parquet": contents["0.parquet"]})


KINDS = {
    "a byte of the rows": (flip_a_byte, "no whole zip file"),
    "the end is missing": (cut, "no whole zip file"),
    "something else": (lambda file, m, c: file.write_bytes(b"rows"), "no whole zip file"),
    "no manifest": (
        lambda file, m, c: zipfile.ZipFile(file, "w").close(),
        f"it has no {MANIFEST}",
    ),
    "a file with a path": (
        lambda file, m, c: write(file, m, c | {"../evil.py": b""}),
        "which is no file of rows",
    ),
    "a file twice": (twice, "holds a file twice"),
    "a file too many": (lambda file, m, c: write(file, m, c | {"1.parquet": b""}), "does not tell"),
    "a file too few": (lambda file, m, c: write(file, m, {}), "it lacks 0.parquet"),
    "another manifest": (
        lambda file, m, c: write(file, m | {"note": 1}, c, b"0" * 64),
        "not the one that the archive was closed with",
    ),
    "a manifest that is no JSON": (lambda file, m, c: write(file, b"{", c), "cannot be read"),
    "names that are none": (
        with_manifest(lambda m: m | {"runs": [m["runs"][0] | {"rows": [1]}]}),
        "it lacks",
    ),
    "a record without a number of cases": (
        with_manifest(lambda m: m["runs"][0]["record"].update(cases=[]) or m),
        "cannot be read",
    ),
    "a manifest of another kind": (lambda file, m, c: write(file, b"[1]", c), "cannot be read"),
    "another format": (with_manifest(lambda m: m | {"format": "rows, 2"}), "its format is"),
    "no run": (with_manifest(lambda m: m | {"runs": []}), "does not tell|tells of no run"),
    "no versions": (
        with_manifest(lambda m: m["runs"][0]["record"].pop("versions") and m),
        "a record lacks versions",
    ),
    "a run twice": (both_runs, "holds a run twice"),
    "rows whose hash is not told": (
        lambda file, m, c: write(file, m, {"0.parquet": c["0.parquet"] + b" "}),
        "has other content",
    ),
    "rows that are no Parquet": (
        lambda file, m, c: write(
            file,
            m | {"runs": [m["runs"][0] | {"sha256": hashlib.sha256(b"x").hexdigest()}]},
            {"0.parquet": b"x"},
        ),
        "is no Parquet file",
    ),
    "a column more": (with_rows(lambda r: r.assign(note=1)), "other columns"),
    "no row": (with_rows(lambda r: r.iloc[:0]), "has no row"),
    "weights of another model": (with_settings(model__weights="0" * 64), "weights of 0.parquet"),
    "another model": (with_settings(model__name="sam_vit_h"), "model of 0.parquet"),
    "phantoms as real images": (with_rows(lambda r: r.assign(level="demo")), "level of 0.parquet"),
    "another protocol": (with_settings(protocol__mask_choice="oracle"), "protocol of 0.parquet"),
    "settings of no protocol": (with_settings(protocol__magic=1), "are none of a run"),
    "more clicks": (with_settings(clicks=4), "an object lacks a click"),
    "a click of an object": (with_rows(lambda r: r.drop(index=1)), "an object lacks a click"),
    "a case that was not run": (
        with_rows(
            lambda r: pd.concat(
                [r, r.iloc[:3].assign(case_id="x", fingerprint="0" * 32)], ignore_index=True
            )
        ),
        "more cases than its record",
    ),
    "a fingerprint": (
        with_rows(lambda r: at(r, 0, fingerprint="0" * 32)),
        "a case has two fingerprints",
    ),
    "no fingerprint": (with_rows(lambda r: r.assign(fingerprint="x")), "of 32 digits"),
    "an IoU": (with_rows(lambda r: at(r, 2, iou=0.99)), "Dice and IoU are not of one mask"),
    "an IoU and its Dice": (
        with_rows(lambda r: at(r, 2, iou=0.6, dice=0.75)),
        "not that of the mask that counts",
    ),
    "an IoU above 1": (with_rows(lambda r: at(r, 2, iou=1.5)), "outside 0 to 1"),
    "another candidate": (with_rows(lambda r: at(r, 2, mask_index=7)), "no candidate"),
    "a larger object": (with_rows(lambda r: at(r, 1, area_share=0.9)), "size changes"),
    "an object of no pixel": (
        with_rows(lambda r: r.assign(area_share=0.0)),
        "no part of the image",
    ),
    "a first click outside": (
        with_rows(lambda r: at(r, 0, positive=False)),
        "first click lies outside",
    ),
    "two patients of a case": (with_rows(lambda r: at(r, 1, patient_id="x")), "two patients"),
    "clicks in another order": (
        with_rows(lambda r: at(at(r, 0, click=2), 1, click=1)),
        "not in order",
    ),
    "half a click": (with_rows(lambda r: at(r, 0, row=-1)), "half outside"),
    "no click on an error": (with_rows(lambda r: at(r, 1, row=-1, col=-1)), "follows on an error"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_in_which_anything_was_changed_is_refused_with_the_reason(kind, run, tmp_path):
    tamper, reason = KINDS[kind]
    file = tmp_path / "rows.zip"
    tamper(file, *parts(run[0]))
    with pytest.raises(BadInputError, match=reason) as error:
        read_archive(file)
    assert str(error.value).startswith(f"{file}: ")


def test_an_archive_made_anew_is_told_by_its_id(run, tmp_path):
    """Rows that fit together, all hashes made right: only who knows the id sees it."""
    manifest, contents = parts(run[0])
    file = tmp_path / "rows.zip"
    keep = ["0"]
    with_rows(lambda r: r[r["case_id"].isin(keep)])(file, manifest, contents)
    assert set(read_archive(file)[1][0]["case_id"]) == {"0"}
    with pytest.raises(BadInputError, match="it is another archive"):
        read_archive(file, run[-1][:16])


def test_a_missing_archive_is_named():
    with pytest.raises(BadInputError, match="no such file"):
        read_archive(Path("nowhere.zip"))


def test_the_command_refuses_and_keeps_nothing(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cut(tmp_path / "rows.zip", *parts(run[0]))
    assert sharing.main(["add", "rows.zip"]) == 2
    assert "no whole zip file" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_command_keeps_what_it_has_checked(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    share([run[1]], tmp_path / "rows.zip")
    assert sharing.main(["add", "rows.zip", "--origin", "hospital A"]) == 0
    said = capsys.readouterr().out
    assert "drawn, grabcut, paper: cases: 3, rows: 9" in said and "not computed again" in said
    assert [file.name for file in (tmp_path / sharing.ADDED).iterdir()] == ["hospital A.zip"]


@pytest.mark.parametrize(
    "origin",
    [
        "a/b",
        "../a",
        "/tmp/a",
        "a\\b",
        "..",
        ".a",
        " ",
        "a\nb",
        "a\0",
        "**a**",
        "[a](b)",
        "<b>",
        "x" * 81,
    ],
)
def test_an_origin_that_is_no_name_of_a_file_is_refused_and_nothing_kept(
    run, tmp_path, monkeypatch, capsys, origin
):
    monkeypatch.chdir(tmp_path)
    share([run[1]], tmp_path / "rows.zip")
    assert sharing.main(["add", "rows.zip", "--origin", origin]) == 2
    assert "is no name of an origin: give --origin" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["rows.zip"]


def test_the_name_of_a_file_that_is_no_origin_asks_for_one(run, tmp_path, capsys):
    share([run[1]], tmp_path / "*rows*.zip")
    assert sharing.main(["add", str(tmp_path / "*rows*.zip")]) == 2
    assert "'*rows*' is no name of an origin: give --origin" in capsys.readouterr().err


def test_rows_with_their_union_come_back_and_an_iou_of_no_whole_pixels_is_refused(run, tmp_path):
    _, _, dataset, model, _ = run
    rows = evaluate(
        dataset, model, clicks=1, store=tmp_path / "store", executor=None, metrics=("union",)
    )
    share([rows], tmp_path / "rows.zip")
    _, (table,) = read_archive(tmp_path / "rows.zip")
    pd.testing.assert_frame_equal(table, rows)
    tamper = with_rows(lambda r: at(r, 0, union=r["union"][0] + 0.5))
    tamper(tmp_path / "rows.zip", *parts(tmp_path))
    with pytest.raises(BadInputError, match="not of whole pixels"):
        read_archive(tmp_path / "rows.zip")
