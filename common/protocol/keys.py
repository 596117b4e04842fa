"""The keys of one job: whoever has them may take part in it, and nobody else.

The launcher makes them; they travel in the job specification and nowhere else. One file serves all hosts,
so it holds the server's secret key too, though only the primary's coordinator uses that one.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

# Z85, ZeroMQ's text form of 32 bytes (rfc.zeromq.org/spec/32)
Key = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-zA-Z.:+=^!/*?&<>()\[\]{}@%$#-]{40}$")]


class JobKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two CURVE key pairs: the coordinator's, and the one that all hosts of the job share."""

    server_public: Key
    server_secret: Key
    client_public: Key
    client_secret: Key

    def __repr__(self) -> str:
        """Nothing of the keys: this is what logs and tracebacks show."""
        return "JobKeys(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []
