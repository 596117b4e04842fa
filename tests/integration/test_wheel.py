"""What ``pip install framefleet`` gives: one package, and all commands, anywhere and without a clone."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from framefleet import PACKAGE
from framefleet.launcher.package_files import package_files
from framefleet.launcher.sagemaker.source_bundle import source_archive
from framefleet.launcher.targets.docker_image import source_digest
from tests.helpers.jobs import copy_project

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this source, built from a copy: building leaves files beside it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy_project(folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([*command, str(folder / "source")], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Commands of an environment that holds the wheel, and the packages of this one instead of fresh ones."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run(command, check=True)
    site = sysconfig.get_path("purelib", vars={"base": str(folder)})
    (Path(site) / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_holds_one_package_and_all_its_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"framefleet"}
    ours = package_files("common", "coordinator", "launcher", "worker")
    assert {"common/errors.py", "launcher/report/assets/report.js", "worker/agent.py"} <= set(ours)
    assert {f"framefleet/{name}" for name in ours} <= set(names)
    assert {f"framefleet/{name}" for name in ("py.typed", "Dockerfile", "requirements.txt")} <= set(names)


def test_the_demo_and_every_command_work_outside_a_clone(bin_folder: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [str(bin_folder / "framefleet"), *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("--version").startswith("framefleet 0.")
    run("--instances", "2", "--slots-per-instance", "1", "--keyframes")
    assert list((tmp_path / "output" / "frames").rglob("*.jpg"))
    run("verify", "output")
    run("report", "output")
    run("export", "output", "--format", "coco-vid")
    assert "instances" in run("plan", "--input", "demo/videos", "--fps", "1")
    for command in ("attach", "stop", "manual"):
        assert "framefleet" in run(command, "--help")


def test_hosts_elsewhere_get_what_a_clone_gives_them(bin_folder: Path, tmp_path: Path) -> None:
    """The image of --target compose, and the bundle of --image none."""
    program = (
        "import sys, framefleet; "
        "from framefleet.launcher.sagemaker.source_bundle import source_archive; "
        "from framefleet.launcher.targets.docker_image import MAKE_BASE, source_digest; "
        "import os; assert os.access(MAKE_BASE, os.X_OK), MAKE_BASE; "
        "assert 'site-packages' in framefleet.__file__, framefleet.__file__; "
        "open('bundle', 'wb').write(source_archive()); "
        "print(source_digest(framefleet.PACKAGE, 'base'))"
    )
    done = subprocess.run(
        [str(bin_folder / "python"), "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == source_digest(PACKAGE, "base")
    assert (tmp_path / "bundle").read_bytes() == source_archive()
