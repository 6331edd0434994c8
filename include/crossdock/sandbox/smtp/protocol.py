"""What the mail server answers to each command; the protocol itself is aiosmtpd's."""

import asyncio
import logging
import warnings
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from crossdock.sandbox.engine.faults import Fault, Faults
from crossdock.sandbox.smtp.outbox import Mail, Outbox

# It warns of logins in clear text with each connection: on loopback nobody listens.
logging.getLogger("mail.log").setLevel(logging.ERROR)

#: The stages of the protocol that a fault script can be put on. `data` is the command that begins a message, `message` is
#: its end.
STAGES = ("hello", "login", "sender", "recipient", "data", "message")

#: Recipients that are refused, by what stands before the @.
_REFUSED = {
    "unknown": "550 5.1.1 There is no such mailbox",
    "full": "452 4.2.2 The mailbox is full",
    "foreign": "550 5.7.1 Relaying denied",
}
_HTML = b"<html><body>502 Bad Gateway</body></html>\r\n"


@dataclass(frozen=True)
class Account:
    user: str
    password: str


class Stages:
    """The hooks of the protocol's commands, in aiosmtpd's terms: each returns the reply."""

    def __init__(self, faults: Faults, outbox: Outbox) -> None:
        self._faults, self._outbox = faults, outbox

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        if (instead := await self.meet(server, "hello")) is not None:
            return [instead]
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if (instead := await self.meet(server, "sender")) is not None:
            return instead
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if (instead := await self.meet(server, "recipient")) is not None:
            return instead
        if refusal := _REFUSED.get(address.partition("@")[0]):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        fault = self._faults.take("message")
        if fault.kind == "ok" or fault.value == "after":
            content = envelope.original_content or b""
            for recipient in envelope.rcpt_tos:
                self._outbox.add(Mail(str(envelope.mail_from), recipient, content))
        instead = await happen(server, fault)
        return "250 2.0.0 Accepted" if instead is None else instead

    async def meet(self, server: SMTP, stage: str) -> str | None:
        """Take the stage's fault and let it happen; return the reply that comes instead of the usual one."""
        return await happen(server, self._faults.take(stage))


async def happen(server: SMTP, fault: Fault) -> str | None:
    """Let *fault* happen; None where the usual reply follows."""
    if fault.latency_ms:
        await asyncio.sleep(fault.latency_ms / 1000)
    match fault.kind:
        case "ok":
            return None
        case "status":
            return f"{fault.value} {fault.value // 100}.3.0 A fault script set this reply"
        case "timeout":
            await _until_gone(server, fault.hold_s)
        case "bad_gateway" | "wrong_type":
            await _push_raw(server, _HTML if fault.kind == "bad_gateway" else b"HTTP/1.1 200 OK\r\n")
        case "drip":
            for sign in b"250-" * int(fault.value):
                await _push_raw(server, bytes([sign]))
                await asyncio.sleep(0.05)
    _abort(server)
    return "421 4.3.0 Closing"


async def _push_raw(server: SMTP, content: bytes) -> None:
    writer: Any = server._writer  # noqa: SLF001 - what it pushes otherwise is a reply
    try:
        writer.write(content)
        await writer.drain()
    except ConnectionError:
        _abort(server)


async def _until_gone(server: SMTP, hold_s: float) -> None:
    """Hold the client until it leaves, at most for *hold_s*."""
    ends_at = asyncio.get_running_loop().time() + hold_s
    while asyncio.get_running_loop().time() < ends_at and not _is_gone(server):  # noqa: ASYNC110 - no event says it
        await asyncio.sleep(0.02)


def _is_gone(server: SMTP) -> bool:
    reader: Any = server._reader  # noqa: SLF001 - the only one who knows
    return server.transport is None or server.transport.is_closing() or bool(reader.at_eof())


def _abort(server: SMTP) -> None:
    transport: Any = server.transport
    if transport is not None:
        transport.abort()


class Protocol(SMTP):
    """aiosmtpd's protocol, with faults where it has no hook."""

    def __init__(self, stages: Stages, account: Account | None, **options: Any) -> None:
        self._stages, self._account = stages, account
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            super().__init__(
                stages,
                hostname="mail.sandbox.example",
                ident="Sandbox",
                authenticator=self._accept if account else None,
                auth_required=account is not None,
                **options,
            )

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802
        instead = await self._stages.meet(self, "login")
        if instead is None:
            await super().smtp_AUTH(arg)
        else:
            await self.push(instead)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        """Begin the message. A reset "after" comes while the message is on its way."""
        fault = self._stages._faults.take("data")  # noqa: SLF001 - one part of the same server
        if fault.kind == "ok":
            await super().smtp_DATA(arg)
            return
        if fault.value == "after":
            await self.push("354 Go on")
        instead = await happen(self, fault)
        if instead is not None:
            await self.push(instead)

    def _accept(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
        account = self._account
        is_right = (
            account is not None
            and isinstance(given, LoginPassword)
            and (given.login, given.password) == (account.user.encode(), account.password.encode())
        )
        return AuthResult(success=is_right, handled=False)
