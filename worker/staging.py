"""Where a host keeps what it has extracted, until it is published."""

from __future__ import annotations

from pathlib import Path

from framefleet.common.host.layout import Layout
from framefleet.common.protocol.messages import Lease


def staging_folder(layout: Layout, lease: Lease) -> Path:
    """Where the frames of one attempt wait for its commit."""
    return layout.staging / f"{lease.unit}-{lease.attempt}"


STAGED_BUNDLE = "images"  # the name of a bundle in the attempt's staging folder
