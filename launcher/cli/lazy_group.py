"""What the command line needs beyond click: a default command, commands imported late, sections of help."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import click


class DefaultGroup(click.Group):
    """A group with a command that is meant when the first argument names none.

    ``elsewhere``: commands that are imported only when they are asked for, and the modules that hold them.
    """

    def __init__(self, *args: Any, default: str, elsewhere: Mapping[str, str], **named: Any) -> None:
        super().__init__(*args, **named)
        self._default = default
        self._elsewhere = elsewhere

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in {"--version", *self.list_commands(ctx)}:
            args = [self._default, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *self._elsewhere]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self._elsewhere:
            command: click.Command = getattr(importlib.import_module(self._elsewhere[name]), name)
            return command
        return super().get_command(ctx, name)


class SectionedCommand(click.Command):
    """A command whose help has its many options in ``sections``: titles, and the parameters of each.

    None for parameters: all that no section before has.
    """

    def __init__(
        self, *args: Any, sections: Sequence[tuple[str, tuple[str, ...] | None]], **named: Any
    ) -> None:
        super().__init__(*args, **named)
        self._sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records = {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        for title, names in self._sections:
            chosen = [records.pop(name) for name in list(records) if names is None or name in names]
            with formatter.section(title):
                formatter.write_dl([record for record in chosen if record is not None])
