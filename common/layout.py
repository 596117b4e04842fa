"""Where things lie on a host: the tree that SageMaker Processing mounts under ``/opt/ml``.

A local host has the same tree under a folder of its own, named by the environment variable
``FRAMEFLEET_ROOT``; nothing else differs between a process here and a container there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

OPTIONS_KEY = "framefleet_options"  # in the metadata of a manifest part: what decided on the frames, as JSON

ROOT_VARIABLE = "FRAMEFLEET_ROOT"
DEFAULT_ROOT = "/opt/ml"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one host, all below ``root``."""

    root: Path

    @classmethod
    def from_environment(cls) -> Layout:
        """The tree named by ``FRAMEFLEET_ROOT``, or ``/opt/ml``."""
        return cls(Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT))

    @property
    def resource_config(self) -> Path:
        return self.root / "config" / "resourceconfig.json"

    @property
    def videos(self) -> Path:
        return self.root / "processing" / "input" / "videos"

    @property
    def job_spec(self) -> Path:
        return self.root / "processing" / "input" / "job" / "job.json"

    @property
    def output(self) -> Path:
        return self.root / "processing" / "output"

    @property
    def staging(self) -> Path:
        """Frames not yet committed. Inside the output, as that is a mount of its own and a file can only be
        renamed within one; gone when the host leaves."""
        return self.output / ".staging"

    @property
    def exit_message(self) -> Path:
        return self.root / "output" / "message"
