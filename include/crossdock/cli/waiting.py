"""Lists of what waits for a person, and of what was decided: decisions, and attempts of unknown outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from crossdock.cli import console
from crossdock.cli.session import hub_api

Column = Callable[[dict[str, Any]], str]


class Listed(NamedTuple):
    """A list, as the API and the terminal have it."""

    #: `/decisions`, and the field of its answer: `decisions`.
    route: str
    name: str
    #: The state of those that wait, as the route calls it.
    waits: str
    #: For those that wait, and for all.
    titles: tuple[str, str]
    columns: Mapping[str, Column]
    #: What is said if there are none.
    empty: str

    def show(self, *, everything: bool, limit: int, as_json: bool, **filters: Any) -> list[dict[str, Any]]:
        """Show those that wait, or *everything*; return those shown in a table for whoever can say what to do with them."""
        state = "all" if everything else self.waits
        found = hub_api().pages(self.route, self.name, limit=limit, state=state, **filters)
        if as_json:
            console.show_json({self.name: found, "has_more": found.has_more})
            return []
        rows = [[column(each) for column in self.columns.values()] for each in found]
        console.show_table(self.titles[everything], list(self.columns), rows, empty=self.empty)
        console.say_if_cut(len(found), has_more=found.has_more)
        return found
