"""Plan a page: its module, its template, its lines in the frame, and what the tests of all pages need of it."""

from __future__ import annotations

from crossdock.cli.new.files import Plan, rendered
from crossdock.core.errors import Conflict, Terminal

_APP = "include/crossdock/web/app.py"
_FRAME = "include/crossdock/web/page.py"
_MATRIX = "tests/web/matrix.py"
_STATEMENTS = "tests/web/test_statements.py"
_BROWSER = "tests/web/test_in_a_browser.py"


def plan_page(plan: Plan, name: str, title: str) -> str:
    """
    Plan the page *name*; return its test.

    Raises:
        Conflict: there is one of that name.
        Terminal: a file of the checkout is not as it was when this was written.

    """
    path = name.replace("_", "-")
    values = {"name": name, "path": path, "title": title}
    test = f"tests/web/test_{name}.py"
    if f'"/{path}"' in (plan.root / _MATRIX).read_text(encoding="utf-8"):
        raise Conflict(f"There is a page /{path}. Choose another name")
    plan.create(f"include/crossdock/web/{name}.py", rendered("page/page", values))
    plan.create(f"include/crossdock/web/templates/{name}.html", rendered("page/template", values))
    plan.create(test, rendered("page/test_page", values))
    _insert(plan, _APP, "from crossdock.web import (\n", f"    {name},\n")
    _insert(plan, _APP, "    audit_trail,\n)\n", f"    {name},\n", before=True)
    _insert(plan, _FRAME, '    Entry("audit", "Audit"),\n', f'    Entry("{path}", "{title}"),\n', before=True)
    _insert(plan, _MATRIX, "PAGES = {\n", f'    ("GET", "/{path}"): Like("GET", "/v1/integrations"),\n')
    _insert(plan, _STATEMENTS, "PAGES = [\n", f'    "/{path}",\n')
    _insert(plan, _BROWSER, "SHOWN = {\n", f'    "/{path}": None,\n')
    return test


def _insert(plan: Plan, path: str, anchor: str, lines: str, *, before: bool = False) -> None:
    """Insert *lines* after the last *anchor* of a file, or before it."""

    def edit(text: str) -> str:
        head, found, rest = text.rpartition(anchor)
        if not found:
            raise Terminal(f"{path} has no line {anchor.strip()!r} any more: the page cannot be added to it")
        return f"{head}{lines}{found}{rest}" if before else f"{head}{found}{lines}{rest}"

    plan.change(path, edit)
