"""What a job without an image of its own is given as an input: the source, the locked wheels, an entry point.

The wheels are those of the image (requirements.txt), for the Python of AWS's own image, fetched once
and kept in the user's cache; in S3 they are kept beside the output's other hidden files, for the next job.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from framefleet import PACKAGE
from framefleet.common.errors import UserError
from framefleet.launcher.aws.s3 import S3Folder, list_objects
from framefleet.launcher.package_files import package_files
from framefleet.launcher.sagemaker.prebuilt_image import PYTHON

if TYPE_CHECKING:
    from framefleet.launcher.aws.clients import Aws

REQUIREMENTS: Final = PACKAGE / "requirements.txt"
SOURCE: Final = ("common", "coordinator", "worker")  # the launcher stays with its user
START: Final = "source_bundle_entrypoint.py"
NAME: Final = "framefleet"
LOCAL_PATH: Final = f"/opt/ml/processing/input/{NAME}"
ENTRYPOINT: Final = ("python3", f"{LOCAL_PATH}/{START}")
FOLDER: Final = ".framefleet-bundles"
# the kinds of Linux whose wheels Debian 12, Ubuntu 22.04 and Amazon Linux 2023 take
PLATFORMS: Final = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # of all files in the archive, so that equal sources give equal bytes


def bundle_folder(output: S3Folder) -> S3Folder:
    """Where the bundle of this source lies; another source has another folder."""
    return output.below(f"{FOLDER}/{_digest()}")


def upload_bundle(aws: Aws, folder: S3Folder, say: Callable[[str], None], **encryption: str) -> None:
    """Put the bundle into ``folder``, as far as it is not there yet.

    Raises:
        UserError: the wheels cannot be fetched.
    """
    there = dict(list_objects(aws.s3, folder))
    with tempfile.TemporaryDirectory() as made:
        for path in bundle_files(Path(made), say):
            name = path.relative_to(made).as_posix()
            if there.get(name) != path.stat().st_size:
                say(f"uploading {name} to {folder} ...")
                with path.open("rb") as data:
                    aws.s3.put_object(Bucket=folder.bucket, Key=folder.key(name), Body=data, **encryption)


def bundle_files(folder: Path, say: Callable[[str], None], *, python: str = PYTHON) -> Iterator[Path]:
    """Make the bundle in ``folder``, and name its files.

    Raises:
        UserError: the wheels cannot be fetched.
    """
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    for wheel in sorted(fetch_wheels(python, say).glob("*.whl")):
        shutil.copyfile(wheel, wheels / wheel.name)
        yield wheels / wheel.name
    shutil.copyfile(REQUIREMENTS, folder / REQUIREMENTS.name)
    shutil.copyfile(Path(__file__).with_name(START), folder / START)
    (folder / "source.zip").write_bytes(source_archive())
    yield from (folder / name for name in (REQUIREMENTS.name, START, "source.zip"))


def fetch_wheels(python: str, say: Callable[[str], None]) -> Path:
    """The folder of the locked wheels for a version of Python; fetched when it is first asked for.

    Raises:
        UserError: pip cannot fetch them.
    """
    requirements = REQUIREMENTS.read_bytes()
    digest = hashlib.sha256(requirements + python.encode()).hexdigest()[:16]
    target = _cache() / f"wheels-{digest}"
    if target.is_dir():
        return target
    say("fetching the packages that hosts need, once ...")
    with _scratch(target.parent) as folder:
        made = Path(folder) / "wheels"
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
        ]
        command += [
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--requirement",
            str(REQUIREMENTS),
        ]
        command += ["--dest", str(made), "--python-version", python, "--implementation", "cp"]
        command += [part for name in PLATFORMS for part in ("--platform", name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
            raise UserError(f"the packages for --image none cannot be fetched: {lines[0]}")
        try:
            made.rename(target)
        except OSError:
            if not target.is_dir():  # else another launcher was quicker
                raise
    return target


@contextlib.contextmanager
def _scratch(cache: Path) -> Iterator[str]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=cache)
    except OSError as error:
        raise UserError(
            f"the packages for --image none cannot be kept in {cache} ({error.strerror}): set XDG_CACHE_HOME "
            "to a folder that can be written to"
        ) from error
    with made as folder:
        yield folder


def source_archive() -> bytes:
    """The packages that hosts run, as a zip file; equal sources give equal bytes."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {"__init__.py": PACKAGE / "__init__.py", **package_files(*SOURCE)}
        for name, path in files.items():
            info = zipfile.ZipInfo(f"framefleet/{name}", EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())
    return data.getvalue()


def _digest() -> str:
    start = Path(__file__).with_name(START).read_bytes()
    whole = hashlib.sha256(REQUIREMENTS.read_bytes() + start + source_archive() + PYTHON.encode())
    return whole.hexdigest()[:16]


def _cache() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "framefleet"
    except RuntimeError as error:
        raise UserError(
            "this user has no home to keep the packages for --image none in: set XDG_CACHE_HOME to a folder "
            "that can be written to"
        ) from error
