"""The page of licences, and the bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "docker" / "licences.py"
PAGE = ROOT / "docs" / "licences.md"


def run(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=True
    ).stdout


def is_pinned() -> bool:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = (line.split()[0].split("==") for line in lines if re.match(r"[A-Za-z0-9._-]+==", line))
    try:
        return all(metadata.version(name) == version for name, version in pins)
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not is_pinned(), reason="other packages than those of requirements.txt are installed")
def test_the_page_is_that_of_the_pins() -> None:
    assert PAGE.read_text() == run(), "python docker/licences.py > docs/licences.md"


def test_every_licence_is_told() -> None:
    assert "not told" not in PAGE.read_text()


def test_the_bill_of_materials_has_every_distribution_and_what_it_bundles() -> None:
    bill = json.loads(run("--sbom"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    named = {part["name"] for part in bill["components"]}
    assert {each.name for each in metadata.distributions()} <= named
    assert {"FFmpeg", "x264", "ZeroMQ", "OpenBLAS"} <= named
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(set(references)) == len(references)
    assert all(part["version"] for part in bill["components"])
