"""The entry point of a job without an image of its own: installs what lies beside it, offline, and goes on.

This file is uploaded as it is, and runs in an image that knows nothing of the project: it uses the standard
library alone.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MESSAGE = Path(os.environ.get("FRAMEFLEET_ROOT", "/opt/ml")) / "output" / "message"
OLDEST = (3, 11)


def fail(text: str) -> None:
    """Say why on the log and as the platform's exit message, and end."""
    print(f"framefleet: {text}", file=sys.stderr, flush=True)
    try:
        MESSAGE.parent.mkdir(parents=True, exist_ok=True)
        MESSAGE.write_bytes(f"framefleet: {text}".encode()[:1024].decode("utf-8", "ignore").encode())
    except OSError:
        pass
    sys.exit(1)


def main() -> None:
    """Install, and become ``python -m framefleet.worker``: the same process, so that signals reach it."""
    began = time.monotonic()
    if sys.version_info < OLDEST:
        fail(f"this image has Python {sys.version.split()[0]}, and {'.'.join(map(str, OLDEST))} is needed")
    home = Path(tempfile.mkdtemp(prefix="framefleet-"))
    packages, source = home / "packages", home / "source"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-index", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--find-links", str(HERE / "wheels"), "--target", str(packages)]
    done = subprocess.run(
        [*command, "--requirement", str(HERE / "requirements.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [
            done.stderr[-300:]
        ]
        fail(f"the packages cannot be installed in this image (Python {sys.version.split()[0]}): {lines[0]}")
    with zipfile.ZipFile(HERE / "source.zip") as archive:
        archive.extractall(source)
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(source)], check=False)
    print(f"framefleet: installed in {time.monotonic() - began:.1f} s", flush=True)
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{packages}", "PYTHONUNBUFFERED": "1"}
    os.chdir(source)
    os.execve(sys.executable, [sys.executable, "-m", "framefleet.worker"], environment)


if __name__ == "__main__":
    main()
