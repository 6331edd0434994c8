"""
Mails from templates: `<kind>.subject.txt`, `<kind>.txt` and, if there is one, `<kind>.html`.

Jinja in its sandbox: a template reads what it is given and nothing else. HTML is escaped. A name that a template uses and
nobody gave is an error, not a blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from crossdock.commerce.mail.model import Content
from crossdock.core.errors import BadRequest, NotFound

_FOLDER = Path(__file__).parent / "templates"


def render(kind: str, values: Mapping[str, Any], *, folder: Path = _FOLDER) -> Content:
    """
    Write the mail of a *kind* with *values*.

    Raises:
        NotFound: there are no templates of that kind.
        BadRequest: a template uses a name that *values* does not have, is not valid, or may not do what it does.

    """
    subject = _rendered(folder, f"{kind}.subject.txt", values)
    text = _rendered(folder, f"{kind}.txt", values)
    if subject is None or text is None:
        raise NotFound(f"There is no template for mails of the kind {kind!r}. Kinds: {', '.join(kinds(folder))}")
    # A line feed in a value stays, and is refused as a second header: only that of the file's end goes.
    return Content(subject=subject.removesuffix("\n"), text=text, html=_rendered(folder, f"{kind}.html", values))


def kinds(folder: Path = _FOLDER) -> list[str]:
    """List the kinds that have templates."""
    return sorted(path.name.removesuffix(".subject.txt") for path in folder.glob("*.subject.txt"))


def _rendered(folder: Path, name: str, values: Mapping[str, Any]) -> str | None:
    try:
        return _environment(folder).get_template(name).render(values)
    except jinja2.TemplateNotFound:
        return None
    except (jinja2.TemplateError, TypeError, ArithmeticError) as error:
        raise BadRequest(f"The template {name} cannot be filled in: {error}") from error


@cache
def _environment(folder: Path) -> jinja2.Environment:
    return ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html"], default=False),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
