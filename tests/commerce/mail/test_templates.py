"""Templates write mails, and nothing that was not meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossdock.commerce.mail.templates import kinds, render
from crossdock.core.errors import BadRequest, NotFound

ORDER: dict[str, Any] = {
    "order_number": "4711",
    "customer_name": "Ada",
    "lines": [{"name": "Ring & <b>chain</b>", "quantity": 2, "total": "39.98 EUR"}],
    "total": "39.98 EUR",
}


def write(folder: Path, subject: str = "s", text: str = "t", html: str | None = None) -> Path:
    (folder / "note.subject.txt").write_text(subject + "\n")
    (folder / "note.txt").write_text(text)
    if html is not None:
        (folder / "note.html").write_text(html)
    return folder


def test_a_confirmation_has_the_order_in_text_and_html() -> None:
    mail = render("order_confirmation", ORDER)

    assert mail.subject == "Your order 4711"
    assert "2 x Ring & <b>chain</b>: 39.98 EUR" in mail.text
    assert "<td>Ring &amp; &lt;b&gt;chain&lt;/b&gt;</td>" in str(mail.html)


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_has_a_subject_of_one_line(kind: str) -> None:
    values = {**ORDER, "integration": "our_server"}
    mail = render(kind, values)

    assert "\n" not in mail.subject
    assert mail.text.strip()


def test_a_name_that_nobody_gave_is_an_error_and_not_a_blank() -> None:
    with pytest.raises(
        BadRequest, match=r"order_confirmation\.subject\.txt cannot be filled in: 'order_number' is undefined"
    ):
        render("order_confirmation", {})


def test_a_line_feed_in_a_value_stays_for_the_check_that_refuses_it(tmp_path: Path) -> None:
    """To strip it here would hide an attack."""
    assert render("note", {"a": "x\nBcc: y"}, folder=write(tmp_path, subject="{{ a }}")).subject == "x\nBcc: y"


def test_text_is_not_escaped_and_html_may_be_absent(tmp_path: Path) -> None:
    mail = render("note", {"a": "<&>"}, folder=write(tmp_path, text="{{ a }}"))

    assert (mail.text, mail.html) == ("<&>", None)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ a.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{% set _ = lines.append(1) %}{{ lines }}",
        "{{ '%s' | format(missing) }}",
        "{{ 1 / 0 }}",
        "{% include '../../service.py' %}",
        "{% if %}",
    ],
)
def test_a_template_reads_what_it_is_given_and_nothing_else(tmp_path: Path, template: str) -> None:
    folder = write(tmp_path, text=template)

    with pytest.raises((BadRequest, NotFound)):
        render("note", {"a": "x", "lines": []}, folder=folder)


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match="Kinds: order_confirmation"):
        render("nothing", {})
