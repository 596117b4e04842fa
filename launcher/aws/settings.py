"""Settings of the SageMaker target: from the command line, else the environment, else a TOML file."""

from __future__ import annotations

import contextlib
import errno
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from framefleet.common.errors import UserError

ENV_PREFIX = "FRAMEFLEET_"
FILE_NAME = "framefleet.toml"
TABLE = "sagemaker"

DEFAULT_INSTANCE_TYPE = "ml.c5.2xlarge"
DEFAULT_MAX_RUNTIME_S = 86_400  # a day, AWS's own default

Upload = Literal["continuous", "end"]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How and where a Processing job runs; nothing of it decides on frames.

    ``volume_size`` is in GB and None where it follows from the input; ``max_runtime`` is in seconds;
    ``price_per_hour`` is the user's own figure for one instance, in dollars. ``upload="end"`` uploads nothing
    before the job is over.
    """

    region: str | None = None
    profile: str | None = None
    role: str | None = None
    image: str | None = None
    instance_type: str = DEFAULT_INSTANCE_TYPE
    volume_size: int | None = None
    max_runtime: int = DEFAULT_MAX_RUNTIME_S
    subnets: list[str] = []
    security_groups: list[str] = []
    kms_key: str | None = None
    volume_kms_key: str | None = None
    encrypt_traffic: bool = False
    tags: dict[str, str] = {}
    upload: Upload = "continuous"
    price_per_hour: Annotated[float, msgspec.Meta(ge=0)] | None = None


NAMES = Settings.__struct_fields__
_TYPES = typing.get_type_hints(Settings, include_extras=True)


class ResolvedSettings(msgspec.Struct, frozen=True):
    """Settings, and for each the words that tell the user where its value came from."""

    settings: Settings
    origins: dict[str, str]

    def origin(self, name: str) -> str:
        """What to change: the option, or the place whose value is in force."""
        return self.origins.get(name) or option(name)


def option(name: str) -> str:
    """The option of the command line for a setting."""
    singular = {"subnets": "subnet", "security_groups": "security-group", "tags": "tag"}
    return "--" + singular.get(name, name).replace("_", "-")


def default_files(environment: Mapping[str, str]) -> list[Path]:
    """Where files are looked for, the strongest first."""
    files = [Path(FILE_NAME)]
    with contextlib.suppress(RuntimeError):  # a user without a home
        files.append(Path(environment.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()) / FILE_NAME)
    return files


def load_settings(
    given: Mapping[str, Any],
    *,
    environment: Mapping[str, str] | None = None,
    files: list[Path] | None = None,
) -> ResolvedSettings:
    """The settings in force.

    Args:
        given: values of the command line; None, an empty list or table stands for what was not given.

    Raises:
        UserError: a file cannot be read, or holds a key or value that is not allowed; so for a variable.
    """
    environment = os.environ if environment is None else environment
    files = default_files(environment) if files is None else files
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path in reversed(files):
        for name, value in _read_file(path).items():
            values[name], origins[name] = value, f"{name} in {path}"
    for name in NAMES:
        variable = ENV_PREFIX + name.upper()
        text = environment.get(variable, "")
        if text:
            values[name], origins[name] = _from_text(name, variable, text), variable
    for name in NAMES:
        value = given.get(name)
        if value not in (None, (), [], {}):
            values[name], origins[name] = value, option(name)
    for name, value in values.items():
        try:
            values[name] = msgspec.convert(value, _TYPES[name])
        except msgspec.ValidationError as error:
            raise UserError(f"{origins[name]} {value!r} will not do: {error}") from error
    return ResolvedSettings(Settings(**values), origins)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if path != Path(FILE_NAME) and error.errno == errno.EACCES:
            return {}  # in the home of another user
        raise UserError(f"cannot read the settings in {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    found = tables.get(TABLE, {})
    for name in [*(f"[{name}]" for name in tables if name != TABLE), *found]:
        if name not in NAMES:
            raise UserError(f"{path} holds {name}, which is no setting of [{TABLE}]: {', '.join(NAMES)}")
    return dict(found)


def _from_text(name: str, variable: str, text: str) -> Any:
    """The value that a variable's text stands for: lists and tables are separated by commas."""
    kind = _TYPES[name]
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    try:
        if typing.get_origin(kind) is list:
            return [piece.strip() for piece in text.split(",") if piece.strip()]
        if typing.get_origin(kind) is dict:
            return parse_tags(text.split(","), variable)
        if kind is bool:
            return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
                text.lower()
            ]
        return kind(text) if kind in (int, float) else text
    except (ValueError, KeyError) as error:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise UserError(f"{variable} {text!r} is not {wanted}") from error


def parse_tags(pairs: typing.Iterable[str], origin: str) -> dict[str, str]:
    """``KEY=VALUE`` each.

    Raises:
        UserError: one has no ``=``, or a key comes twice.
    """
    tags: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.strip().partition("=")
        if not sign or not key or key in tags:
            why = "comes twice" if sign and key in tags else "is not KEY=VALUE"
            raise UserError(f"{origin} {pair.strip()!r} {why}")
        tags[key] = value
    return tags
