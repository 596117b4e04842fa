"""Where things lie on a host: the tree that SageMaker Processing mounts under ``/opt/ml``.

A local host has the same tree under a folder of its own, named by the environment variable
``FRAMEFLEET_ROOT``, and its videos where ``FRAMEFLEET_VIDEOS`` says: its disk may have no links. Nothing else
differs between a process here and a container there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from framefleet.common.output.video_names import safe_component

OPTIONS_KEY = "framefleet_options"  # in the metadata of a manifest part: what decided on the frames, as JSON

ROOT_VARIABLE = "FRAMEFLEET_ROOT"
VIDEOS_VARIABLE = "FRAMEFLEET_VIDEOS"
DEFAULT_ROOT = "/opt/ml"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one host, all below ``root``.

    Attributes:
        run: a folder below ``manifest/`` and ``job/``, where several runs and hosts share one output (in S3,
            where what they tell would overwrite one another's); empty where the launcher merges outputs.
        share: a folder below that of the run, for hosts that each tell of their own share.
        host: whose staging it is: the output may be a folder that all hosts share, and each empties its own.
        source: the folder of videos, if it is not in the tree.
    """

    root: Path
    run: str = ""
    share: str = ""
    host: str = ""
    source: Path | None = None

    @classmethod
    def from_environment(cls) -> Layout:
        """The tree named by ``FRAMEFLEET_ROOT``, or ``/opt/ml``."""
        source = os.environ.get(VIDEOS_VARIABLE)
        return cls(
            Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT), source=Path(source) if source else None
        )

    def of_run(self, run: str, host: str = "") -> Layout:
        """The same tree, for one run of several in one output; ``host``: one with a share of its own."""
        return replace(self, run=run, share=safe_component(host) if host else "")

    def of_host(self, host: str) -> Layout:
        """The same tree, as one host of several uses it."""
        return replace(self, host=host)

    @property
    def resource_config(self) -> Path:
        return self.root / "config" / "resourceconfig.json"

    @property
    def training_config(self) -> Path:
        """What a SageMaker Training job has in place of the file above."""
        return self.root / "input" / "config" / "resourceconfig.json"

    @property
    def videos(self) -> Path:
        return self.source or self.root / "processing" / "input" / "videos"

    @property
    def job_spec(self) -> Path:
        return self.root / "processing" / "input" / "job" / "job.json"

    @property
    def output(self) -> Path:
        return self.root / "processing" / "output"

    @property
    def manifest(self) -> Path:
        """Where this host's manifest parts go."""
        return self.output / "manifest" / self.run

    @property
    def job(self) -> Path:
        """Where the coordinator keeps its journal, and at the end tells what became of the job."""
        return self.output / "job" / self.run / self.share

    @property
    def staging(self) -> Path:
        """Frames not yet committed. Inside the output, as that is a mount of its own and a file can only be
        renamed within one; gone when the host leaves."""
        return self.output / ".staging" / safe_component(self.host) if self.host else self.output / ".staging"

    def remove_staging(self) -> None:
        """Remove this host's staging, and what held it if that is empty then; best effort."""
        shutil.rmtree(self.staging, ignore_errors=True)
        if self.host:
            with contextlib.suppress(OSError):  # another host's is there
                self.staging.parent.rmdir()

    @property
    def exit_message(self) -> Path:
        return self.root / "output" / "message"
