"""The mails that the server has accepted."""

import email
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import default
from typing import Any


@dataclass(frozen=True)
class Mail:
    sender: str
    recipient: str
    #: As it came, without the quoting of dots.
    content: bytes

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=default)

    def as_document(self) -> dict[str, Any]:
        message = self.message
        parts = {part: message.get_body((part,)) for part in ("plain", "html")}
        return {
            "sender": self.sender,
            "recipient": self.recipient,
            # Texts: a header is an object of its own, which is no JSON.
            "message_id": str(message["Message-ID"]),
            "subject": str(message["Subject"]),
            "text": parts["plain"].get_content() if parts["plain"] else None,
            "html": parts["html"].get_content() if parts["html"] else None,
        }


class Outbox:
    """The accepted mails, in their order. Thread-safe."""

    def __init__(self) -> None:
        self._mails: list[Mail] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._mails)

    def add(self, mail: Mail) -> None:
        with self._lock:
            self._mails.append(mail)

    def all(self) -> list[Mail]:
        with self._lock:
            return list(self._mails)

    def as_document(self) -> dict[str, Any]:
        return {"mails": [mail.as_document() for mail in self.all()]}

    def clear(self) -> dict[str, Any]:
        with self._lock:
            self._mails.clear()
        return self.as_document()
