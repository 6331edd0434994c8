"""A group of verbs that says which verbs it has when it is given another."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from typer.core import TyperGroup


class Verbs(TyperGroup):
    """What every group of ./hub is made of: `typer.Typer(cls=Verbs, …)`."""

    # Any: typer's context of this version is in a private module.
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that *args* begin with; for one that is not there, the nearest and all that are."""
        wanted = args[0]
        if not wanted.startswith("-") and self.get_command(ctx, wanted) is None:
            there = self.list_commands(ctx)
            nearest = get_close_matches(wanted, there, n=1)
            meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
            ctx.fail(f"There is no {wanted!r}.{meant} There are: {', '.join(there)}")
        return super().resolve_command(ctx, args)
