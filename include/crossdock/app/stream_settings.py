"""What HUB_STREAMS names that does not exist: refused at a start, and shown by `doctor`, each with the nearest name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches

from crossdock.app import definitions
from crossdock.connectors.declarative.streams import declared_streams
from crossdock.core.errors import Terminal
from crossdock.core.settings import StreamSettings, read_settings
from crossdock.integrations.manifests import manifests
from crossdock.sync import Stream


def refuse_mistakes(*, definitions_url: str | None = None) -> None:
    """
    Refuse settings that no integration could ever have; one that does not exist yet may be added later.

    *definitions_url* replaces the setting of the folder of definitions.

    Raises:
        Terminal: all of them.

    """
    found = list(_mistakes(read_settings().streams, _declared(definitions_url)))
    if found:
        raise Terminal("\n".join(found))


def findings(*, definitions_url: str) -> list[str]:
    """List the mistakes, and the streams of integrations that do not exist."""
    chosen = read_settings().streams
    existing = {one.integration for one in definitions.read_all(url=definitions_url)}
    declared = _declared(definitions_url)
    existing |= {stream.integration for stream in declared}
    absent = [
        f"HUB_STREAMS: {name!r} has no effect, because there is no such integration.{_near(name, _ids(existing, declared))}"
        for name in chosen
        if name != "*" and name.partition(".")[0] not in existing
    ]
    return [*_mistakes(chosen, declared), *absent]


def _mistakes(chosen: dict[str, StreamSettings], declared: Sequence[Stream]) -> Iterator[str]:
    for name, of_stream in chosen.items():
        meant = _streams_called(name, declared)
        if not meant:
            ids = _ids({name.partition(".")[0]}, declared)
            yield f"HUB_STREAMS: no integration has a stream {name!r}.{_near(name, ids)}"
        rules = {rule.name: rule for stream in meant for rule in stream.expectations}
        for rule in of_stream.rules if meant else ():
            if rule not in rules:
                yield f"HUB_STREAMS: {name!r} has no rule {rule!r}.{_near(rule, rules)}"
            elif rules[rule].required:
                yield f"HUB_STREAMS: the level of {rule!r} cannot be changed: the hub's tables need it"


def _streams_called(name: str, declared: Sequence[Stream]) -> list[Stream]:
    """List what *name* may mean: any stream for `*`, a declared one, or that dataset of any connector."""
    if name == "*":
        return [*_of_connectors(), *declared]
    own = [stream for stream in declared if stream.id == name]
    return own or [stream for stream in _of_connectors() if stream.dataset.name == name.partition(".")[2]]


def _declared(definitions_url: str | None) -> list[Stream]:
    return [stream for _, stream in declared_streams(definitions_url=definitions_url)]


def _of_connectors() -> list[Stream]:
    return [stream for manifest in manifests().values() for stream in manifest.streams]


def _ids(integrations: Collection[str], declared: Sequence[Stream]) -> list[str]:
    """List the IDs that streams of *integrations* may have, and those of the *declared* ones."""
    possible = (f"{one}.{stream.dataset.name}" for one in integrations for stream in _of_connectors())
    return [*possible, *(stream.id for stream in declared)]


def _near(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, sorted(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
