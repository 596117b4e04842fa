"""Keys for tests: those of the test's job, and those of somebody who is no part of it."""

from __future__ import annotations

from framefleet.common.protocol.keys import JobKeys
from framefleet.common.protocol.transport import make_keys

KEYS = make_keys()
OTHER_KEYS = make_keys()


def stranger_keys() -> JobKeys:
    """The job's server with a client pair that it does not know."""
    return JobKeys(
        server_public=KEYS.server_public,
        server_secret=KEYS.server_secret,
        client_public=OTHER_KEYS.client_public,
        client_secret=OTHER_KEYS.client_secret,
    )
