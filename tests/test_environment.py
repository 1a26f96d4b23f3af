"""One list of requirements: pyproject, the lock and the conda environment say the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import medsam_utils

ROOT = Path(__file__).parent.parent


def requirements() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return set().union(project["dependencies"], *project["optional-dependencies"].values())


def lock() -> dict[str, tuple[str, list[str]]]:
    """Version and hashes of each package; one that differs by Python counts once."""
    entries = (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    pattern = re.compile(r"([a-z0-9-]+)==(\S+)(?: ; [^#]*?)?((?: +--hash=sha256:[0-9a-f]{64})+) *")
    matches = [pattern.fullmatch(entry) for entry in entries]
    assert None not in matches
    return {match[1]: (match[2], match[3].split()) for match in matches}


def name(requirement: str) -> str:
    return re.split(r"[<>=!~\[ ]", requirement)[0].lower()


def test_the_lock_pins_every_requirement_by_hash_and_names_no_host():
    assert {name(requirement) for requirement in requirements()} <= set(lock())
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_conda_installs_what_the_lock_names():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["--requirement requirements.lock"]


def test_this_package_is_built_by_the_setuptools_of_the_lock():
    (build,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert build == f"setuptools=={lock()['setuptools'][0]}"


def test_the_set_up_installs_by_hash_alone_and_builds_nothing_of_others():
    text = (ROOT / "Makefile").read_text()
    rule = text[text.index("$(READY): ") :]
    installs = re.findall(r"pip install[^\n]*|\$\(PIP\)[^&|\n]*", rule)
    locked = [command for command in installs if "$(LOCKED)" in command]
    assert "LOCKED := --require-hashes --no-deps --only-binary :all:" in text
    assert [c for c in installs if c not in locked] == [
        "$(PIP) --no-deps --no-build-isolation --editable ."
    ]


def test_the_version_stands_in_pyproject_and_the_citation_says_the_same():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert medsam_utils.__version__ == stated
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == stated


@pytest.mark.parametrize("package", ["torch", "matplotlib", "sklearn", "IPython", "distributed"])
def test_importing_the_package_does_not_load(package):
    code = f"import sys, medsam_utils; sys.exit({package!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_tour_names_every_file_of_tests():
    folder = ROOT / "tests"
    named = set(
        re.findall(r"`((?:browser/|fuzz/)?test_\w+\.py)`", (folder / "README.md").read_text())
    )
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("test_*.py")}
