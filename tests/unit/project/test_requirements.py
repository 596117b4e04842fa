"""What is installed: pins with hashes and without addresses, each within the ranges of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RANGES = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()
}


def pins(name: str) -> dict[str, str]:
    """The versions in a file, whose every requirement is one version for all Pythons."""
    made = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            continue
        found = re.fullmatch(r"([a-z0-9-]+)==(\S+)(?: ; .+?)?(?: +--hash=sha256:[0-9a-f]{64})+", line)
        assert found, line
        assert found[1] not in made
        made[found[1]] = found[2]
    return made


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_pins_lie_within_the_ranges(name: str) -> None:
    versions = pins(name)
    wanted = RANGES + EXTRAS["metrics"] + (EXTRAS["test"] if "test" in name else [])
    for each in wanted:
        assert each.specifier.contains(versions[each.name]), each


def test_tests_run_with_what_is_run() -> None:
    assert pins("requirements.txt").items() <= pins("requirements-test.txt").items()


def test_no_new_major_version_comes_in_untested() -> None:
    for each in RANGES:
        assert {part.operator for part in each.specifier} == {">=", "<"}, each
