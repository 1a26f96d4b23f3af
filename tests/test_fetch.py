"""Fetching and unpacking datasets, from a server on this machine."""

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
from local_server import sha256
from PIL import Image

from medsam_utils import DATASETS, load_dataset
from medsam_utils.case import BadInputError
from medsam_utils.datasets import fetch as fetch_module
from medsam_utils.datasets import unpack as unpack_module
from medsam_utils.datasets.fetch import ARCHIVES, HOW, PACKAGES, Archive, fetch, main, overview
from medsam_utils.datasets.unpack import unpack
from medsam_utils.download import WrongHashError

CONTENT = bytes(range(256)) * 400


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(*members: tarfile.TarInfo, mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def register(monkeypatch, *archives: Archive, name: str = "us_test") -> str:
    monkeypatch.setitem(ARCHIVES, name, archives)
    return name


# unpack


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "C:evil"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_members_outside_the_folder_are_refused(name, kind, tmp_path):
    archive = tmp_path / "in" / f"a.{kind}"
    archive.parent.mkdir()
    good = {"good": b"x"}
    archive.write_bytes(
        zip_of(good | {name: b"x"}) if kind == "zip" else tar_of(member("good"), member(name))
    )
    with pytest.raises(BadInputError, match="outside"):
        unpack(archive, tmp_path / "out" / "a")
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted([f"a.{kind}", "in", "out"])


@pytest.mark.parametrize(
    "bad",
    [
        member("link", type=tarfile.SYMTYPE, linkname="/etc"),
        member("link", type=tarfile.SYMTYPE, linkname="../.."),
        member("link", type=tarfile.LNKTYPE, linkname="../../etc/passwd"),
        member("device", type=tarfile.CHRTYPE),
        member("pipe", type=tarfile.FIFOTYPE),
    ],
    ids=lambda m: f"{m.name} {m.linkname}",
)
def test_links_and_devices_in_a_tar_are_refused(bad, tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_of(bad, member("link/inside", size=3)))
    with pytest.raises(BadInputError, match="link or a device"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


def test_links_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BadInputError, match="link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_declares_more_than_the_disk_has_is_refused(kind, tmp_path, monkeypatch):
    big = (
        zip_of({"big": bytes(5000)})
        if kind == "zip"
        else tar_of(member("big", size=5000), mode="w:gz")
    )
    (tmp_path / f"a.{kind}").write_bytes(big)
    monkeypatch.setattr(unpack_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=4999))
    with pytest.raises(BadInputError, match="more than the disk"):
        unpack(tmp_path / f"a.{kind}", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_cut_off_archive_leaves_no_half_folder(kind, tmp_path):
    members = [member(f"f{i}", size=2000) for i in range(20)]
    whole = (
        zip_of({f"f{i}": CONTENT for i in range(3)})
        if kind == "zip"
        else tar_of(*members, mode="w:gz" if kind == "tar.gz" else "w")
    )
    # The half of the tar ends between two members, which tarfile alone does not notice.
    (tmp_path / f"a.{kind}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match="cannot be unpacked"):
        unpack(tmp_path / f"a.{kind}", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{kind}"]


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_a_flipped_bit_of_a_compressed_tar_gives_no_other_content(mode, tmp_path):
    whole = tar_of(member("a", size=20_000), member("b", size=20_000), mode=f"w:{mode}")
    for place in range(12, len(whole), 7):
        damaged = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        (tmp_path / "a.tar").write_bytes(damaged)
        try:
            unpack(tmp_path / "a.tar", tmp_path / f"out{place}")
        except BadInputError:
            continue
        assert mode == "bz2", "which has bits that mean nothing"
        assert (tmp_path / f"out{place}/b").read_bytes() == b"x" * 20_000


def test_a_header_that_declares_gigabytes_is_refused_before_they_are_read(tmp_path):
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.XHDTYPE, 3 << 30
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(header.tobuf())
        for _ in range(40):
            file.write(bytes(1 << 20))
    with pytest.raises(BadInputError, match="more than 16 MiB"):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")


def test_many_empty_members_are_more_than_the_disk_has(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=40_000))
    (tmp_path / "a.tar").write_bytes(tar_of(*[member(f"{i}") for i in range(20)]))
    with pytest.raises(BadInputError, match="more than the disk"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize(
    "record", [b"", b"[]", b"{", b'{"a.zip": 5}', b'{"a.zip": "0"}', b"\xff", b"[" * 10**5]
)
def test_a_damaged_record_of_hashes_is_told(record, server, tmp_path, monkeypatch):
    server.files["/a.zip"] = zip_of({"1.png": b"1"})
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"))
    (tmp_path / "archives" / name).mkdir(parents=True)
    (tmp_path / "archives" / name / "hashes.json").write_bytes(record)
    with pytest.raises(BadInputError, match=r"hashes\.json: it is damaged.*delete it"):
        fetch(name, tmp_path)


def test_a_folder_that_cannot_be_written_is_told(server, tmp_path, monkeypatch):
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"))
    (tmp_path / "archives").write_bytes(b"a file")
    with pytest.raises(BadInputError, match="could not be written"):
        fetch(name, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_names_with_spaces_and_parentheses_unpack(kind, tmp_path):
    name = "Dataset_BUSI_with_GT/benign/benign (1)_mask.png"
    packed = zip_of({name: b"xxx"})
    if kind != "zip":
        packed = tar_of(member(name, size=3), mode="w:gz" if kind == "tar.gz" else "w")
    (tmp_path / f"a.{kind}").write_bytes(packed)
    assert (unpack(tmp_path / f"a.{kind}", tmp_path / "out") / name).read_bytes() == b"xxx"


# fetch


def test_a_dataset_is_fetched_unpacked_and_then_left_alone(server, tmp_path, monkeypatch):
    server.files["/a.zip"] = packed = zip_of({"top/images/1.png": b"1"})
    name = register(
        monkeypatch, Archive(f"{server.url}/a.zip", sha256(packed), "a.zip", gives="top")
    )
    folder = fetch(name, tmp_path)
    assert folder == tmp_path / name
    assert (folder / "a/top/images/1.png").read_bytes() == b"1"
    fetch(name, tmp_path)
    (tmp_path / "archives" / name / "a.zip").unlink()  # No longer needed, the docstring says.
    fetch(name, tmp_path)
    assert len(server.requests) == 1


def test_what_is_fetched_is_found_by_load_dataset(server, tmp_path, monkeypatch):
    buffer = io.BytesIO()
    pixels = np.zeros((30, 40), np.uint8)
    pixels[10:20, 10:20] = 255
    Image.fromarray(pixels).save(buffer, "png")
    folder = "Dataset_BUSI_with_GT/benign"
    names = (f"{folder}/benign (1).png", f"{folder}/benign (1)_mask.png")
    server.files["/a.zip"] = zip_of(dict.fromkeys(names, buffer.getvalue()))
    register(
        monkeypatch, Archive(f"{server.url}/a.zip", None, "Dataset_BUSI.zip"), name="us_breast"
    )
    fetch("us_breast", tmp_path)
    dataset = load_dataset("us_breast", tmp_path)
    assert dataset.level == "measured"
    (reference,) = dataset.list().references
    assert dataset.load(reference).masks["lesion"].sum() == 100


@pytest.mark.parametrize("place", ["us_test/top", "us_test/by hand/top", "top"])
def test_what_a_user_has_unpacked_is_not_downloaded(place, server, tmp_path, monkeypatch):
    (tmp_path / place).mkdir(parents=True)
    fetch(
        register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip", gives="top")), tmp_path
    )
    assert server.requests == []


def test_an_archive_put_there_by_hand_is_used(server, tmp_path, monkeypatch):
    packed = zip_of({"1.png": b"1"})
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", sha256(packed), "a.zip"))
    (tmp_path / "archives" / name).mkdir(parents=True)
    (tmp_path / "archives" / name / "a.zip").write_bytes(packed)
    assert (fetch(name, tmp_path) / "a/1.png").exists()
    assert server.requests == []


def test_a_wrong_archive_is_not_unpacked(server, tmp_path, monkeypatch):
    server.files["/a.zip"] = zip_of({"1.png": b"1"})
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", "0" * 64, "a.zip"))
    with pytest.raises(BadInputError, match="0" * 64):
        fetch(name, tmp_path)
    assert not (tmp_path / name).exists()
    assert not (tmp_path / "archives" / name / "a.zip").exists()


def test_a_hash_that_nobody_publishes_is_recorded_and_then_holds(
    server, tmp_path, monkeypatch, capsys
):
    server.files["/a.zip"] = packed = zip_of({"1.png": b"1"})
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"))
    folder, kept = fetch(name, tmp_path), tmp_path / "archives" / name
    assert json.loads((kept / "hashes.json").read_text()) == {"a.zip": sha256(packed)}
    assert sha256(packed) in capsys.readouterr().out
    (kept / "a.zip").unlink()
    (folder / "a/1.png").unlink()
    (folder / "a").rmdir()
    server.files["/a.zip"] = changed = zip_of({"1.png": b"2"})
    with pytest.raises(BadInputError, match=r"recorded.*hashes\.json") as error:
        fetch(name, tmp_path)
    assert sha256(packed) in str(error.value)
    assert sha256(changed) in str(error.value)
    assert not (folder / "a").exists()
    assert not (kept / "a.zip").exists()


def test_no_hash_is_recorded_of_what_turns_out_to_be_no_archive(server, tmp_path, monkeypatch):
    server.files["/a.zip"] = b"<html>Please sign in to the guest network</html>"
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"))
    with pytest.raises(BadInputError, match=r"cannot be unpacked.*delete it"):
        fetch(name, tmp_path)
    (tmp_path / "archives" / name / "a.zip").unlink()
    server.files["/a.zip"] = zip_of({"1.png": b"1"})
    assert (fetch(name, tmp_path) / "a/1.png").exists()


def test_files_put_there_by_hand_get_no_doubles(server, tmp_path, monkeypatch, capsys):
    name = register(monkeypatch, Archive(f"{server.url}/volume-0.nii.gz", None, "volume-0.nii.gz"))
    (tmp_path / name / "CT-ORG").mkdir(parents=True)
    (tmp_path / name / "CT-ORG/volume-0.nii.gz").write_bytes(CONTENT)
    assert fetch(name, tmp_path) == tmp_path / name
    assert "nothing is fetched" in capsys.readouterr().out
    assert server.requests == []


def test_a_lost_connection_is_not_reported_as_a_changed_file(server, tmp_path, monkeypatch):
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"))
    (tmp_path / "archives" / name).mkdir(parents=True)
    (tmp_path / "archives" / name / "hashes.json").write_text(json.dumps({"a.zip": "0" * 64}))
    with pytest.raises(BadInputError, match="404") as error:
        fetch(name, tmp_path)
    assert "recorded" not in str(error.value)


def test_files_that_are_no_archives_keep_their_folders(server, tmp_path, monkeypatch):
    server.files["/v/volume-0.nii.gz"] = CONTENT
    name = register(
        monkeypatch, Archive(f"{server.url}/v/volume-0.nii.gz", None, "v/volume-0.nii.gz")
    )
    for _ in range(2):
        assert (fetch(name, tmp_path) / "v/volume-0.nii.gz").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_split_archive_is_verified_joined_and_unpacked(server, tmp_path, monkeypatch):
    whole = tar_of(member("GE/Patient 1/1.dcm", size=3), mode="w:gz")
    halves = {"ge.tar.gz.aa": whole[:50], "ge.tar.gz.ab": whole[50:]}
    server.files = {f"/{name}": half for name, half in halves.items()} | {
        "/other.tar.gz.aa": b"not ours"
    }
    record = [
        (name[1:], f"{server.url}{name}", f"md5:{hashlib.md5(part).hexdigest()}")
        for name, part in reversed(server.files.items())
    ]
    monkeypatch.setattr(fetch_module, "_record", lambda doi: record)
    name = register(monkeypatch, Archive("doi:10.0/record", None, "ge.tar.gz", gives="GE"))
    folder = fetch(name, tmp_path)
    assert (folder / "ge/GE/Patient 1/1.dcm").read_bytes() == b"xxx"
    assert sorted(path for path, _ in server.requests) == ["/ge.tar.gz.aa", "/ge.tar.gz.ab"]


def test_a_damaged_part_of_a_split_archive_is_refused(server, tmp_path, monkeypatch):
    server.files = {"/ge.aa": b"damaged"}
    record = [("ge.aa", f"{server.url}/ge.aa", f"md5:{hashlib.md5(b'good').hexdigest()}")]
    monkeypatch.setattr(fetch_module, "_record", lambda doi: record)
    name = register(monkeypatch, Archive("doi:10.0/record", None, "ge.tar.gz"))
    with pytest.raises(WrongHashError):
        fetch(name, tmp_path)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    "file",
    [
        {"key": "ge.aa", "checksum": "md5:0a", "links": {"self": "https://zenodo.org/self"}},
        {"filename": "ge.aa", "checksum": "0a"},
    ],
    ids=["key", "filename"],
)
def test_a_record_lists_names_addresses_and_hashes_in_both_forms_of_its_interface(
    file, monkeypatch
):
    repository = pooch.downloaders.ZenodoRepository("10.0/zenodo.7", "https://zenodo.org/record/7")
    repository._api_response = {"id": 7, "files": [file]}
    monkeypatch.setattr(pooch.downloaders, "doi_to_repository", lambda doi, **_: repository)
    ((name, url, known),) = fetch_module._record("doi:10.0/zenodo.7")
    assert (name, known) == ("ge.aa", "md5:0a")
    assert url in ("https://zenodo.org/self", "https://zenodo.org/records/7/files/ge.aa?download=1")


def test_a_dataset_that_needs_an_account_gives_instructions_and_makes_no_folder(
    tmp_path, monkeypatch
):
    monkeypatch.delitem(ARCHIVES, "us_breast")
    monkeypatch.setitem(HOW, "us_breast", "Sign in and press the button.")
    with pytest.raises(BadInputError) as error:
        fetch("us_breast", tmp_path)
    passport = DATASETS["us_breast"].passport
    for fact in (
        "press the button",
        passport.home,
        passport.licence,
        passport.layout,
        str(tmp_path / "us_breast"),
    ):
        assert fact in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_what_only_a_person_can_add_is_told_after_the_rest_is_fetched(
    server, tmp_path, monkeypatch, capsys
):
    server.files["/a.zip"] = zip_of({"1.png": b"1"})
    register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"), name="xray_chest")
    fetch("xray_chest", tmp_path)
    assert "shcxr-lung-mask" in capsys.readouterr().out


def test_an_unknown_name_and_a_missing_folder_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("MEDSAM_DATA", raising=False)
    with pytest.raises(BadInputError, match="did you mean 'us_breast'"):
        fetch("us_brest", tmp_path)
    with pytest.raises(BadInputError, match="MEDSAM_DATA"):
        fetch("us_breast")


def test_every_dataset_can_be_fetched_or_tells_how_to_get_it():
    table = overview()
    for name in DATASETS:
        known = name in ARCHIVES or name in HOW or name in PACKAGES
        assert known, f"{name}: add it to ARCHIVES, HOW or PACKAGES in sources.py"
        assert name in table


def test_the_table_tells_how_large_each_download_is():
    header, *lines = overview().splitlines()
    place = header.index("size")
    sizes = {line.split()[0]: line[place:].split("  ")[0].strip() for line in lines[:-1]}
    assert {name for name, size in sizes.items() if size} == {*ARCHIVES, *PACKAGES}
    assert sizes["ct_liver"] == "about 29 GB" and sizes["ct_torso"] == "35 MB"
    assert lines[-1].startswith("?: the server says it")


def test_the_table_of_archives_is_well_formed():
    for name, archives in ARCHIVES.items():
        assert len({archive.file for archive in archives}) == len(archives), name
        for archive in archives:
            assert archive.url.startswith(("https://", "doi:")), archive
            assert archive.sha256 is None or (
                len(archive.sha256) == 64 and int(archive.sha256, 16)
            ), archive


def test_the_command_prints_the_table_or_ends_with_status_2(server, tmp_path, monkeypatch, capsys):
    assert main([]) == 0
    assert "us_breast" in capsys.readouterr().out
    assert main(["nothing", "--data", str(tmp_path)]) == 2
    assert "is unknown" in capsys.readouterr().err
    server.files["/a.zip"] = zip_of({"1.png": b"1"})
    name = register(monkeypatch, Archive(f"{server.url}/a.zip", None, "a.zip"))
    assert main([name, "--data", str(tmp_path)]) == 0
    assert str(tmp_path / name) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_a_file_of_zeros_is_no_archive(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(20_480))
    with pytest.raises(BadInputError, match="no file is in it"):
        unpack(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
