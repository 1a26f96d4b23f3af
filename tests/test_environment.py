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


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split(" ;")[0].strip().split("==") for line in lines)


def name(requirement: str) -> str:
    return re.split(r"[<>=!~\[ ]", requirement)[0].lower()


def test_the_conda_environment_lists_what_pyproject_lists():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert {entry for entry in pip if not entry.startswith("--")} == requirements()


def test_the_lock_pins_every_requirement_and_names_no_host():
    assert {name(requirement) for requirement in requirements()} <= set(lock())
    assert "://" not in (ROOT / "requirements.lock").read_text()


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
    named = set(re.findall(r"`((?:browser/)?test_\w+\.py)`", (folder / "README.md").read_text()))
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("test_*.py")}
