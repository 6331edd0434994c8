"""
Each alert channel before a receiver of its own, for the one suite that all of them pass.

A new channel is one more class here, and its entry in CHANNELS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any, Protocol

from crossdock.http.connection import Connection
from crossdock.integrations.manifests import manifests
from crossdock.maintenance.alerting.model import AlertMessage, Cause, Occasion, Severity
from crossdock.maintenance.alerting.ports import AlertChannel
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem
from crossdock.sandbox.signed_webhook.verifier import FakeReceiver
from crossdock.sandbox.slack_webhook.workspace import FakeSlack
from crossdock.sandbox.smtp.mail_server import FakeMailServer
from crossdock.sandbox.smtp.outbox import Mail
from crossdock.sandbox.teams_webhook.flow import FakeTeams

#: In the credentials of every bench: no message, log or representation shows it.
CANARY = "canary0123456789canary01"
ATTEMPTS = 2
#: One attempt may take a second, which the tests of a time-out wait for.
_IMPATIENT = {"timeout_s": 1.0, "connect_timeout_s": 0.5, "attempts": ATTEMPTS, "longest_wait_s": 0.3}
FAULTS: dict[str, Any] = {
    "timeout_before": {"timeout": "before"},
    "timeout_after": {"timeout": "after"},
    "reset_before": {"reset": "before"},
    "reset_after": {"reset": "after"},
    "html_502_before": {"bad_gateway": "before"},
    "html_502_after": {"bad_gateway": "after"},
}

SAMPLE = AlertMessage(
    message_id="m-1",
    thread_id="t-1",
    occasion=Occasion.OPENED,
    severity=Severity.CRITICAL,
    title="[critical] shop_eu.orders: 12 records rejected",
    causes=(
        Cause(
            kind="quarantine",
            severity=Severity.CRITICAL,
            subject="shop_eu.orders",
            message="12 records were rejected by lines_have_a_name.",
            since=datetime(2026, 11, 29, 17, 43, 5, tzinfo=UTC),
            count=12,
            examples=(
                "order 4711: line 2 has no name",
                "order 4712: line 1 has no name",
                "order 4713: line 9 has no name",
            ),
            hub_does="The hub loads all other records.",
            next_step="Look at the rejected records.",
            command="./hub quarantine list shop_eu.orders",
            link="https://hub.example/hub/quarantine?stream=shop_eu.orders&open=1",
        ),
    ),
    hub="production",
    at=datetime(2026, 11, 29, 17, 43, 9, tzinfo=UTC),
)


def sample(**changed: Any) -> AlertMessage:
    return replace(SAMPLE, **changed)


def with_cause(**changed: Any) -> AlertMessage:
    return replace(SAMPLE, causes=(replace(SAMPLE.causes[0], **changed),))


@dataclass(frozen=True)
class Received:
    """One message as its reader has it."""

    #: By which the receiver knows it; None where it knows none.
    message_id: str | None
    thread_id: str | None
    title: str
    #: Everything that is shown, in each of its forms (text and HTML of a mail).
    shown: tuple[str, ...]
    #: What can be followed.
    links: tuple[str, ...]
    to: tuple[str, ...] = ()


class Bench(Protocol):
    #: The kind of integration.
    kind: str
    recipients: Sequence[str]
    #: The route of a fault script on which a message is accepted.
    route: str
    #: What the receiver answers while it is busy.
    busy: Mapping[str, Any]

    @property
    def system(self) -> Any:
        """The simulated system: its `faults` and its `stop`."""
        ...

    def connection(self) -> Connection: ...

    def received(self) -> list[Received]: ...

    def as_shown(self, text: str) -> str:
        """What a reader sees of *text*, which is printable."""
        ...


def open_channel(bench: Bench) -> AlertChannel:
    """As the sender opens it: from the manifest and the connection."""
    opened: AlertChannel = manifests()[bench.kind].provided("alert_channel").of("on_call", bench.connection(), None)
    return opened


def _connection(kind: str, *, host: str | None = None, password: str, **more: Any) -> Connection:
    extra = {"allowed_networks": ["127.0.0.0/8"], "calls": {"limits": _IMPATIENT}, **more.pop("extra", {})}
    return Connection(connection_id="on_call", conn_type=kind, host=host, password=password, extra=extra, **more)


class Page(HTMLParser):
    """What a mail program shows of HTML, and every address in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shown, self.links, self.tags = "", list[str](), set[str]()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name != "style"]

    def handle_data(self, data: str) -> None:
        self.shown += data


def _mail(headers: Mapping[str, str], text: str, html: str, to: Sequence[str]) -> Received:
    page = Page(html)
    assert page.tags <= {"html", "body", "h2", "h3", "p", "ul", "li", "code", "a"}
    return Received(
        message_id=headers["Message-ID"],
        thread_id=headers["References"],
        title=headers["Subject"],
        shown=(text.replace("\r\n", "\n"), page.shown.replace("\r\n", "\n")),
        links=tuple(page.links),
        to=tuple(to),
    )


class _Mails:
    recipients = ("ops@shop.example", "Ada@bücher.example")
    kind = ""

    def as_shown(self, text: str) -> str:
        return text


class _SmtpBench(_Mails):
    kind, route, busy = "smtp_relay", "message", {"status": 451}

    def __init__(self, system: FakeMailServer) -> None:
        self.system = system

    def connection(self) -> Connection:
        extra = {"allow_plain": True}
        return _connection(self.kind, host=self.system.smtp_url, login="sandbox", password=CANARY, extra=extra)

    def received(self) -> list[Received]:
        """One mail that came for several recipients is one message."""
        found: dict[bytes, list[Mail]] = {}
        for number, mail in enumerate(self.system.outbox.all()):
            found.setdefault(mail.content + bytes([number // len(self.recipients)]), []).append(mail)
        return [self._one(mails) for mails in found.values()]

    @staticmethod
    def _one(mails: list[Mail]) -> Received:
        message = mails[0].message
        text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
        assert text is not None
        assert html is not None
        return _mail(
            {name: str(message[name]) for name in ("Message-ID", "References", "Subject")},
            text.get_content(),
            html.get_content(),
            [mail.recipient for mail in mails],
        )


class _SendGridBench(_Mails):
    kind, route, busy = "sendgrid", "send", {"status": 429, "retry_after": 0}

    def __init__(self, system: FakeMailSystem) -> None:
        self.system = system

    def connection(self) -> Connection:
        return _connection(self.kind, host=self.system.url, password=CANARY)

    def received(self) -> list[Received]:
        return [
            _mail(
                {**mail["headers"], "Subject": mail["subject"]},
                mail["content"][0]["value"],
                mail["content"][1]["value"],
                [to["email"] for to in mail["personalizations"][0]["to"]],
            )
            for mail in self.system.outbox
        ]


class _Webhook:
    recipients = ()
    route, busy = "post", {"status": 429, "retry_after": 0}
    kind = ""

    def as_shown(self, text: str) -> str:
        return text


def _texts(part: Any, name: str) -> Iterator[str]:
    """Every text called *name*, in its order."""
    if isinstance(part, list):
        for item in part:
            yield from _texts(item, name)
    elif isinstance(part, dict):
        if isinstance(part.get(name), str):
            yield part[name]
        for value in part.values():
            yield from _texts(value, name)


class _SlackBench(_Webhook):
    kind = "slack_webhook"

    def __init__(self, system: FakeSlack) -> None:
        self.system = system

    def connection(self) -> Connection:
        return _connection(self.kind, password=self.system.webhook_url)

    def received(self) -> list[Received]:
        return [self._one(message) for message in self.system.inbox]

    @staticmethod
    def _one(message: Mapping[str, Any]) -> Received:
        """Its texts are shown as they are in `rich_text` alone, so that nothing else may have one."""
        assert {block["type"] for block in message["blocks"]} == {"rich_text"}
        assert {*_texts(message["blocks"], "type")} <= {
            "rich_text",
            "rich_text_section",
            "rich_text_preformatted",
            "text",
            "link",
        }
        notification = message["text"]
        assert "<" not in notification
        assert (message["parse"], message["link_names"], message["mrkdwn"]) == ("none", False, False)
        for escaped, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
            notification = notification.replace(escaped, sign)
        texts = [*_texts(message["blocks"], "text")]
        assert notification == texts[0]
        links = tuple(_texts(message["blocks"], "url"))
        return Received(None, None, texts[0], ("\n".join(texts),), links)


class _TeamsBench(_Webhook):
    kind = "teams_webhook"

    def __init__(self, system: FakeTeams) -> None:
        self.system = system

    def connection(self) -> Connection:
        return _connection(self.kind, password=self.system.webhook_url)

    def as_shown(self, text: str) -> str:
        """Whatever would be a function of the card has a blank in it."""
        while "{{" in text:
            text = text.replace("{{", "{ {")
        return text

    def received(self) -> list[Received]:
        return [self._one(message["attachments"][0]["content"]) for message in self.system.inbox]

    @staticmethod
    def _one(card: Mapping[str, Any]) -> Received:
        """A text is shown as it is in a run alone, so that nothing else may have one."""
        assert {*_texts(card["body"], "type")} <= {
            "RichTextBlock",
            "TextRun",
            "Container",
            "ActionSet",
            "Action.OpenUrl",
        }
        assert "entities" not in card["msteams"]
        texts = [*_texts(card["body"], "text")]
        return Received(None, None, texts[0], ("\n".join(texts),), tuple(_texts(card["body"], "url")))


class _SignedBench(_Webhook):
    kind = "signed_webhook"

    def __init__(self, system: FakeReceiver) -> None:
        self.system = system

    def connection(self) -> Connection:
        return _connection(self.kind, host=f"{self.system.url}/alerts", password=self.system.secret)

    def received(self) -> list[Received]:
        return [self._one(message["id"], message["body"]["data"]) for message in self.system.inbox]

    @staticmethod
    def _one(message_id: str, data: Mapping[str, Any]) -> Received:
        assert data["message_id"] == message_id
        values = [str(data["hub"]), *_values(data["causes"]), *([f"… and {data['more_causes']} more causes"])]
        links = tuple(
            link
            for cause in data["causes"]
            for link in (cause["link"], *(deed["link"] for deed in cause["deeds"]))
            if link
        )
        return Received(message_id, data["thread_id"], data["title"], ("\n".join([data["title"], *values]),), links)


def _values(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        for value in part:
            yield from _values(value)
    elif part is not None:
        yield str(part)


@dataclass(frozen=True)
class Channel:
    """A channel of the suite."""

    kind: str

    @property
    def name(self) -> str:
        return f"{self.kind}-alerts"

    def bench(self) -> AbstractContextManager[Bench]:
        return _BENCHES[self.kind]()


@contextmanager
def _smtp() -> Iterator[Bench]:
    with FakeMailServer(password=CANARY) as system:
        yield _SmtpBench(system)


@contextmanager
def _sendgrid() -> Iterator[Bench]:
    with FakeMailSystem(api_key=CANARY) as system:
        yield _SendGridBench(system)


@contextmanager
def _slack() -> Iterator[Bench]:
    with FakeSlack(token=CANARY) as system:
        yield _SlackBench(system)


@contextmanager
def _teams() -> Iterator[Bench]:
    with FakeTeams(signature=CANARY) as system:
        yield _TeamsBench(system)


@contextmanager
def _signed() -> Iterator[Bench]:
    with FakeReceiver(secret=f"whsec_{CANARY}{'A' * 8}") as system:
        yield _SignedBench(system)


_BENCHES = {
    "smtp_relay": _smtp,
    "sendgrid": _sendgrid,
    "slack_webhook": _slack,
    "teams_webhook": _teams,
    "signed_webhook": _signed,
}
#: Every alert channel. The suite runs for each.
CHANNELS = [Channel(kind) for kind in _BENCHES]
