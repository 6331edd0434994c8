"""How much the hub's API gives at a time."""

from __future__ import annotations

#: The most items that a page of a list may have.
LARGEST_PAGE = 500
