"""What every alert channel promises, whatever its receiver does. A rule here is a rule for all of them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from crossdock.core.errors import BadRequest, OutcomeUnknown, SystemRefused, Terminal, Transient
from crossdock.core.printable import UNPRINTABLE, printable
from crossdock.core.settings import settings
from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import check_connection
from crossdock.integrations.manifests import manifests
from crossdock.integrations.model import CheckOutcome
from crossdock.maintenance.alerting.model import AlertMessage, Occasion, Severity
from tests.contracts.alert_channels import (
    ATTEMPTS,
    CANARY,
    CHANNELS,
    FAULTS,
    SAMPLE,
    Bench,
    Channel,
    Received,
    open_channel,
    sample,
    with_cause,
)

each_fault = pytest.mark.parametrize("fault", FAULTS)
HOSTILE = {
    "terminal": "\x1b]0;owned\x07\x1b[31mred\x1b[0m",
    "html": "</li><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(1)>",
    "entities": "&lt;b&gt; &amp;amp; &#x3c;",
    "markdown": "**bold** _it_ ~~no~~ `code` [here](https://evil.example) ![](https://evil.example/x.png)",
    "slack": "<!channel> <!here> <@U123> <#C123> @channel @here <https://evil.example|here> *bold* :tada:",
    "teams": "<at>Everyone</at> {{DATE(2017-02-14T06:00:00Z, SHORT)}} {{{TIME(x)}}} ${expression}",
    "bidi": "invoice\u202exe.pdf \u2066\u2069\u200b",
    "lines": "first\r\nBcc: all@customers.example\r\n\r\n.\r\nlast\u2028end",
    "controls": "a\x00b\x85c\x7fd",
    "surrogate": "a\ud800b",
    "code fence": "``` \n ```",
    "emoji": "👩🏽 Grüße 你好",
}


class World:
    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.channel = open_channel(bench)

    def send(self, message: AlertMessage = SAMPLE) -> None:
        self.channel.send(message, self.bench.recipients)

    def received(self) -> Received:
        (only,) = self.bench.received()
        return only

    def script(self, *script: Any, repeat: bool = False) -> None:
        self.bench.system.faults.put(self.bench.route, list(script), repeat=repeat)

    def heal(self) -> None:
        self.bench.system.faults.clear()


@pytest.fixture(autouse=True)
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HUB_MAIL_FROM", "The Shop <alerts@shop.example>")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(params=CHANNELS, ids=lambda channel: channel.name)
def kind(request: pytest.FixtureRequest) -> Channel:
    chosen: Channel = request.param
    return chosen


@pytest.fixture
def world(kind: Channel) -> Iterator[World]:
    with kind.bench() as bench:
        yield World(bench)


def test_a_connector_that_provides_an_alert_channel_is_in_this_suite() -> None:
    able = {kind for kind, manifest in manifests().items() if "alert_channel" in manifest.provides}

    assert able == {channel.kind for channel in CHANNELS}


class TestSending:
    def test_a_message_says_what_is_wrong_since_when_and_what_to_do(self, world: World) -> None:
        world.send()

        received, (cause,) = world.received(), SAMPLE.causes
        assert received.title == SAMPLE.title
        assert received.links == (cause.link,)
        for shown in received.shown:
            for text in (cause.subject, cause.message, *cause.examples, cause.hub_does, cause.next_step, cause.command):
                assert text in shown
            assert "12" in shown
            assert re.search(r"2026-11-29.17:43:05", shown)
            assert "production" in shown

    def test_a_closing_message_says_when_it_ended_in_the_same_thread(self, world: World) -> None:
        """Where a receiver knows threads: mails and webhooks."""
        world.send()
        ended = SAMPLE.causes[0].since + timedelta(minutes=11)
        world.send(
            replace(with_cause(until=ended), message_id="m-2", occasion=Occasion.CLOSED, title="Closed: shop_eu.orders")
        )

        opened, closed = world.bench.received()
        assert opened.thread_id == closed.thread_id
        assert opened.message_id is None or opened.message_id != closed.message_id
        for shown in closed.shown:
            assert re.search(r"2026-11-29.17:54:05", shown)

    def test_two_causes_are_two_threads(self, world: World) -> None:
        world.send()
        world.send(sample(message_id="m-2", thread_id="t-2"))

        one, other = world.bench.received()
        assert one.thread_id is None or one.thread_id != other.thread_id

    def test_a_digest_of_30_causes_is_one_message_that_names_each(self, world: World) -> None:
        causes = tuple(replace(SAMPLE.causes[0], subject=f"shop_{number:02}.orders") for number in range(30))
        world.send(sample(occasion=Occasion.DIGEST, causes=causes, title="30 causes"))

        for shown in world.received().shown:
            assert [cause.subject for cause in causes if cause.subject not in shown] == []

    @pytest.mark.parametrize("occasion", Occasion)
    def test_every_occasion_and_severity_can_be_sent(self, world: World, occasion: Occasion) -> None:
        for severity in Severity:
            world.send(sample(message_id=f"m-{severity}", occasion=occasion, severity=severity))

        assert [received.title for received in world.bench.received()] == [SAMPLE.title] * len(Severity)

    def test_a_cause_with_no_more_than_it_must_have_can_be_sent(self, world: World) -> None:
        """A message without a next step is shorter, not broken: no receiver takes an empty text."""
        world.send(with_cause(message="", count=None, examples=("",), hub_does="", next_step="", command="", link=""))

        assert world.received().links == ()

    def test_examples_after_the_third_are_counted(self, world: World) -> None:
        world.send(with_cause(examples=tuple(f"example-{number}" for number in range(5))))

        for shown in world.received().shown:
            assert "example-2" in shown
            assert "example-3" not in shown

    @pytest.mark.parametrize(
        ("length", "sign"), [(200, "x"), (5_000, "ü"), (5_000, "👩"), (5_000, "<"), (5_000, "\x1b"), (1_000_000, '"')]
    )
    def test_a_message_of_any_size_arrives(self, world: World, length: int, sign: str) -> None:
        """A receiver's limit is no reason to say nothing: what does not fit is cut or counted."""
        long = sign * length
        cause = replace(
            SAMPLE.causes[0],
            subject=f"subject {long}",
            message=long,
            examples=(long,) * 3,
            hub_does=long,
            next_step=long,
            command=long,
        )
        world.send(sample(title=f"title {long}", causes=(cause,) * 300, occasion=Occasion.DIGEST, hub=long))

        received = world.received()
        assert len(received.title) <= 150
        assert received.title.startswith("title ")
        for shown in received.shown:
            assert "subject " in shown
            assert re.search(r"… and \d+ more causes", shown)


class TestRecipients:
    def test_only_a_channel_of_addresses_takes_recipients(self, world: World) -> None:
        if world.channel.takes_recipients:
            world.channel.check_recipient("ops@bücher.example")
        for wrong in (
            "nobody",
            "",
            "a b@shop.example",
            "x@shop.example\r\nBcc: y@z.example",
            "x@shop",
            "<x@y.example>",
        ):
            with pytest.raises(BadRequest):
                world.channel.check_recipient(wrong)

    def test_every_recipient_gets_one(self, world: World) -> None:
        world.send()

        expected = {"ops@shop.example", "Ada@xn--bcher-kva.example"} if world.channel.takes_recipients else set()
        assert set(world.received().to) == expected


class TestHostileTexts:
    @pytest.mark.parametrize("hostile", HOSTILE)
    def test_what_a_record_says_arrives_as_text(self, world: World, hostile: str) -> None:
        """No markup, no mention, no link, no header and no control character comes of it, wherever it stands."""
        text = HOSTILE[hostile]
        fields = ("subject", "message", "hub_does", "next_step", "command")
        message = replace(
            with_cause(**dict.fromkeys(fields, text), examples=(text,) * 3, link=text), title=text, hub=text
        )
        world.send(message)

        received, expected = world.received(), world.bench.as_shown(printable(text).strip())
        assert received.links == ()
        assert received.title == expected[:150]
        for shown in received.shown:
            # Subject, message, what the hub does, the next step, the command and three examples.
            assert shown.count(expected) >= len(fields) + 3
            assert not re.search(f"[{UNPRINTABLE}]", shown.replace("\n", ""))

    def test_no_title_is_decoded(self, world: World) -> None:
        """An encoded word (RFC 2047) with a line break in it would add a header to a mail."""
        world.send(sample(title="=?utf-8?q?a=0D=0ABcc=3A_all=40customers.example?="))

        assert "0D=0ABcc" in world.received().title

    @pytest.mark.parametrize(
        "link",
        [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://hub.example/a b",
            'https://hub.example/"><script>',
            "https://hub.example/|here>",
            "//hub.example",
            "https://[",
        ],
    )
    def test_only_a_web_address_becomes_a_link(self, world: World, link: str) -> None:
        world.send(with_cause(link=link))

        assert world.received().links == ()


class TestDeeds:
    def test_what_can_be_done_from_a_message_can_be_followed(self, world: World) -> None:
        """At night a person taps once, and need not sign in."""
        url = (
            "https://hub.example/hub/pages/alert-link?deed=acknowledge&alert=12&route=ops&until=1796094850&signature=ab"
        )
        world.send(with_cause(deeds=(("Acknowledge", url), ("Mute", url.replace("acknowledge", "mute")))))

        received = world.received()
        assert received.links[-2:] == (url, url.replace("acknowledge", "mute"))

    def test_no_other_address_becomes_a_deed(self, world: World) -> None:
        world.send(with_cause(link="", deeds=(("Acknowledge", "javascript:alert(1)"),)))

        assert world.received().links == ()


class TestFaults:
    def test_a_receiver_that_is_busy_is_tried_again_and_gets_it_once(self, world: World) -> None:
        world.script(world.bench.busy)
        world.send()

        assert len(world.bench.received()) == 1

    def test_a_receiver_that_stays_busy_has_accepted_nothing(self, world: World) -> None:
        world.script(world.bench.busy, repeat=True)
        with pytest.raises(Transient):
            world.send()
        assert world.bench.received() == []

        world.heal()
        world.send()
        assert len(world.bench.received()) == 1

    def test_a_receiver_that_is_down_has_accepted_nothing(self, world: World) -> None:
        world.bench.system.stop()

        with pytest.raises(Transient):
            world.send()

    def test_a_receiver_that_refuses_us_ends_it(self, world: World) -> None:
        status = {"status": 554 if world.bench.route == "message" else 403}
        world.script(status, repeat=True)

        with pytest.raises(Terminal):
            world.send()
        assert world.bench.received() == []

    @each_fault
    def test_what_nobody_knows_is_said_and_a_repetition_has_the_same_id(self, world: World, fault: str) -> None:
        """A receiver that knows IDs counts one message; another has it twice, which is better than not at all."""
        world.script(*[FAULTS[fault]] * ATTEMPTS)
        with pytest.raises(OutcomeUnknown):
            world.send()
        world.heal()
        arrived = len(world.bench.received())
        world.send()

        received = world.bench.received()
        assert (arrived > 0) == fault.endswith("_after")
        if world.channel.knows_repetitions:
            assert len({message.message_id for message in received}) == 1
        else:
            assert len(received) == arrived + 1

    @pytest.mark.parametrize("fault", [*FAULTS, "busy", "refused", "down"])
    def test_no_message_or_log_shows_a_credential(
        self, world: World, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The URL of a webhook is one: whoever has it can post."""
        script = {"busy": world.bench.busy, "refused": {"status": 554 if world.bench.route == "message" else 401}}
        if fault == "down":
            world.bench.system.stop()
        else:
            world.script(FAULTS.get(fault) or script[fault], repeat=True)

        with caplog.at_level("DEBUG"), pytest.raises((Transient, OutcomeUnknown, Terminal)) as caught:
            world.send()
        said = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(world.bench.connection())
        assert CANARY not in said
        assert "on_call" in str(caught.value)


class TestConnection:
    def checks(self, connection: Connection) -> dict[str, CheckOutcome]:
        return {check.name: check.outcome for check in check_connection(manifests()[connection.conn_type], connection)}

    def test_a_right_connection_passes_and_sends_nothing(self, world: World) -> None:
        found = self.checks(world.bench.connection())

        assert CheckOutcome.FAILED not in found.values()
        assert found["address"] is CheckOutcome.OK
        assert world.bench.received() == []

    def test_an_address_in_our_own_network_is_refused(self, world: World) -> None:
        known = world.bench.connection()
        open_world = Connection(
            connection_id="on_call",
            conn_type=known.conn_type,
            host=known.host,
            login=known.login,
            password=known.password,
        )

        assert self.checks(open_world)["address"] is CheckOutcome.FAILED

    def test_a_connection_without_its_secret_is_refused_and_not_shown(self, world: World) -> None:
        known = world.bench.connection()
        broken = f"{known.password} "
        for password in ("", broken):
            connection = Connection(
                connection_id="on_call", conn_type=known.conn_type, host=known.host, login="x", password=password
            )
            if world.bench.kind == "smtp_relay" and password:
                continue  # any text is a password
            with pytest.raises(BadRequest) as caught:
                manifests()[known.conn_type].provided("alert_channel").of("on_call", connection, None)
            assert CANARY not in str(caught.value)

    def test_the_manifest_takes_what_the_connection_has(self, world: World) -> None:
        manifest, connection = manifests()[world.bench.kind], world.bench.connection()

        manifest.refuse_invalid(manifest.settings_of(connection), manifest.credentials_of(connection))


class TestMails:
    """What only channels of mails can do."""

    @pytest.fixture
    def server(self) -> Iterator[World]:
        (channel,) = (channel for channel in CHANNELS if channel.kind == "smtp_relay")
        with channel.bench() as bench:
            yield World(bench)

    def test_one_wrong_address_keeps_no_other_from_the_mail(self, server: World) -> None:
        """And the others do not get it each time that it is tried for the wrong one."""
        with pytest.raises(SystemRefused, match="1 of 2 recipients do not get the mail"):
            server.channel.send(SAMPLE, ["unknown@shop.example", "ops@shop.example"])

        assert [mail.recipient for mail in server.bench.system.outbox.all()] == ["ops@shop.example"]

    @pytest.mark.parametrize(
        ("recipients", "kind"),
        [
            (["unknown@shop.example"], Terminal),
            (["full@shop.example"], Transient),
            (["unknown@shop.example", "full@shop.example"], Transient),
        ],
    )
    def test_a_mail_that_nobody_got_is_tried_again_if_anyone_may_get_it(
        self, server: World, recipients: list[str], kind: type
    ) -> None:
        with pytest.raises(kind):
            server.channel.send(SAMPLE, recipients)
        assert len(server.bench.system.outbox) == 0

    @pytest.mark.parametrize("sender", ["", "The Shop"])
    def test_a_hub_without_a_sender_opens_no_channel(self, monkeypatch: pytest.MonkeyPatch, sender: str) -> None:
        monkeypatch.setenv("HUB_MAIL_FROM", sender)
        settings.cache_clear()
        for channel in CHANNELS:
            with channel.bench() as bench:
                if manifests()[bench.kind].provided("alert_channel").takes_recipients:
                    with pytest.raises(BadRequest):
                        open_channel(bench)
