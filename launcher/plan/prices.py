"""What instances cost and can do, from a file that the user may replace."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from framefleet.common.errors import UserError

OURS: Final = Path(__file__).with_name("prices.toml")


class Instance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A type: its price for an hour, its vCPUs, and how fast a slot on one of them is beside a whole core."""

    price: Annotated[float, msgspec.Meta(ge=0)]
    vcpus: Annotated[int, msgspec.Meta(ge=1, le=512)]
    slot_speed: Annotated[float, msgspec.Meta(gt=0, le=10)] = 0.6


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Instances by name; ``collected`` and ``source`` say what the prices are worth."""

    currency: str
    collected: str
    source: str
    instances: dict[str, Instance]


def read_prices(path: Path = OURS) -> Prices:
    """Read a file of prices.

    Raises:
        UserError: it cannot be read, or holds what is not allowed.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Prices)
    except OSError as error:
        raise UserError(f"--prices {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise UserError(f"--prices {path} will not do: {error}; {OURS} shows what it holds") from error
