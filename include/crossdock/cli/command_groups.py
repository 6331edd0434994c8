"""Groups of commands: they list their commands when given a wrong one, and load a command only when it is invoked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer import TyperException
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from crossdock.cli.interrupts import ends_quietly


class CommandGroup(TyperGroup):
    """The class of every group of ./hub: `typer.Typer(cls=CommandGroup, …)`."""

    #: Words that people try → the command that does it.
    meant: ClassVar[Mapping[str, str]] = {}

    # Any: typer's context of this version is in a private module.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that *args* begin with. For a wrong one, typer names the nearest; this adds all others."""
        try:
            return super().resolve_command(ctx, args)
        except TyperException as error:
            if args[0] in self.meant:
                error.message = f"No such command '{args[0]}'. That does: {self.meant[args[0]]}"
            elif args[0] not in self.commands:
                error.message = f"{error.message} Commands: {', '.join(self.list_commands(ctx))}"
            raise


class LazyCommand(NamedTuple):
    """A command, or a group of them, that is not loaded yet."""

    #: `module:attribute` of a function or a `typer.Typer`.
    target: str
    #: What `./hub --help` says of it, and the help of a group that has none of its own.
    summary: str
    #: Arguments of typer's `command`, for a function.
    settings: Mapping[str, Any] = {}


class LazyCommandGroup(CommandGroup):
    """
    A group whose commands are imported when they are invoked, so that one does not pay for the imports of all.

    `commands` has placeholders for these, with name and summary; `load` makes the real one.
    """

    lazy_commands: ClassVar[Mapping[str, LazyCommand]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            **self.commands,
            **{name: TyperCommand(name, help=command.summary) for name, command in self.lazy_commands.items()},
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, self.load(name), rest

    def load(self, name: str) -> Any:
        """Import the command called *name*, which is in `commands`."""
        if name not in self.lazy_commands:
            return self.commands[name]
        command = self.lazy_commands[name]
        module, _, attribute = command.target.partition(":")
        with ends_quietly():
            found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name, group.help = name, group.help or command.summary
            return group
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(name, **command.settings)(found)
        return get_command(single)
