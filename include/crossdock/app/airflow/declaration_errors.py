"""Show the mistakes of declarations as an import error of a DAG file that defines no DAG, so that none disappears with it."""

from __future__ import annotations

from crossdock.connectors.declarative import last_valid
from crossdock.core.errors import BadRequest


class InvalidDeclarations(BadRequest):
    """Declarations have mistakes; the text has each with its file and line, and what goes on meanwhile."""


def raise_mistakes() -> None:
    """
    Validate the declarations whose files have changed since they were last valid.

    Raises:
        InvalidDeclarations: some have mistakes.

    """
    suspects = last_valid.changed()
    if not suspects:
        return
    from crossdock.connectors.declarative.files import InvalidDeclaration  # noqa: PLC0415  the module is light without
    from crossdock.connectors.declarative.streams import declared_stream  # noqa: PLC0415  imports the datasets

    found = []
    for path in suspects:
        try:
            declared_stream(path)
        except InvalidDeclaration as error:
            meanwhile = (
                "Its last valid version keeps running" if last_valid.has_valid_version(path) else "It has no DAG yet"
            )
            found.append(f"{error}\n  {meanwhile}. To check it again: ./hub integration validate {path}")
    if found:
        raise InvalidDeclarations("\n\n".join(found))
