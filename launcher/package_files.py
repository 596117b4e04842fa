"""The files of this package, for what runs it elsewhere: an image, a job without an image of its own."""

from __future__ import annotations

from pathlib import Path

from framefleet import PACKAGE


def package_files(*folders: str, package: Path = PACKAGE) -> dict[str, Path]:
    """The files below ``folders`` of the package, by their names in it, without what Python compiled."""
    files = {}
    for folder in folders:
        top = (package / folder).resolve()  # in a clone it is a link
        for path in sorted(top.rglob("*")):
            if path.is_file() and path.parent.name != "__pycache__":
                files[f"{folder}/{path.relative_to(top).as_posix()}"] = path
    return files
