"""The actions that a file declares, in the form of those that connectors have in their manifest and code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crossdock.connectors.declarative.action_answer import AnswerInvalid, exact, output_of, schema_of
from crossdock.connectors.declarative.action_request import filled
from crossdock.connectors.declarative.content import decoded
from crossdock.connectors.declarative.model import Declaration, DeclaredAction, Lookup
from crossdock.connectors.declarative.paths import PathDoesNotFit, finder
from crossdock.core.errors import Declined, SystemRefused
from crossdock.http.client import HttpClient
from crossdock.http.response import HttpResponse, redacted
from crossdock.integrations.actions.model import Action, ActionKind, Document, Idempotency
from crossdock.integrations.actions.ports import Effect, ReadAction, ReadBack, Sighting, WriteAction, WriteRequest
from crossdock.integrations.json_schema import errors_in
from crossdock.workflows.declared import mappings
from crossdock.workflows.declared.mappings import ExpressionInvalid

#: The longest key that the hub makes.
_KEY_LENGTH = 64
#: A success without a body, so without a content type.
_NO_CONTENT = 204


@dataclass(frozen=True)
class DeclaredClient:
    """The client of a declared system."""

    http: HttpClient


def actions_of(declaration: Declaration) -> dict[str, tuple[Action, ReadAction | WriteAction]]:
    """Make each action of *declaration*: what its manifest says, and what carries it out."""
    return {
        name: (action_of(declared, declaration.zone), _run_of(declared, declaration))
        for name, declared in declaration.actions.items()
    }


def action_of(declared: DeclaredAction, zone: str) -> Action:
    """Describe an action as a manifest does."""
    return Action(
        title=declared.title,
        description=declared.description or f"{declared.method} {declared.path}.",
        kind=ActionKind.READ if declared.is_read else ActionKind.WRITE,
        input=input_schema(declared),
        output=schema_of(declared, sample_output(declared, zone)),
        sample=declared.sample.params,
        idempotency=None if declared.is_read else _idempotency(declared),
        unknown=None if declared.is_read else _unknown(declared),
    )


def input_schema(declared: DeclaredAction) -> dict[str, Any]:
    """Write the JSON Schema of the params."""
    required = [name for name in declared.params if name not in declared.optional]
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": dict(declared.params),
    }


def sample_output(declared: DeclaredAction, zone: str) -> Document | None:
    """Read the sample's answer as the output; None if there is none, or it is not what is declared, which validation reports."""
    try:
        return None if declared.sample.answer is None else output_of(declared, exact(declared.sample.answer), zone)
    except AnswerInvalid:
        return None


def _idempotency(declared: DeclaredAction) -> Idempotency | Literal["none"]:
    if declared.key is None:
        return "none"
    return Idempotency(
        window_s=declared.key.window_s,
        replays="all",
        key_max_length=_KEY_LENGTH,
        scope="account",
        header=declared.key.header,
        in_use_status=declared.key.in_use,
    )


def _unknown(declared: DeclaredAction) -> str:
    if declared.lookup is not None:
        return f"read:{declared.lookup.action}"
    # Nobody says how long the system knows a key whose window is 0: nothing is repeated.
    return "replay" if declared.key is not None and declared.key.window_s else "person"


def _run_of(declared: DeclaredAction, declaration: Declaration) -> ReadAction | WriteAction:
    parse = _parser(declared, declaration.zone)
    if declared.is_read:
        return _reader(declared, parse)

    def request(_: DeclaredClient, given: Document) -> WriteRequest:
        found = filled(declared, given)
        # The file's schema has no other method, and a GET is a read.
        method: Any = declared.method
        return WriteRequest(method, found.path, found.body, query=found.query, headers=found.headers)

    read_back = None if declared.lookup is None else _read_back(declared, declared.lookup, declaration.zone)
    return WriteAction(
        request=request,
        output_of=parse,
        decline_of=_decline_of(declared),
        retry_on=frozenset(declared.retries),
        read_back=read_back,
    )


def _reader(declared: DeclaredAction, parse: Callable[[HttpResponse], Document]) -> ReadAction:
    def run(client: DeclaredClient, given: Document) -> Document:
        found = filled(declared, given)
        return client.http.get(
            found.path, found.query, parse_or_retry, accept=retry_on | {_NO_CONTENT}, headers=found.headers
        )

    retry_on = frozenset(declared.retries)

    def parse_or_retry(response: HttpResponse) -> Document:
        if response.status in retry_on:
            raise response.busy()
        return parse(response)

    return run


def _parser(declared: DeclaredAction, zone: str) -> Callable[[HttpResponse], Document]:
    def parse(response: HttpResponse) -> Document:
        try:
            return output_of(declared, decoded(response) if response.body else None, zone)
        except AnswerInvalid as error:
            raise response.invalid(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise response.invalid("is not JSON") from error

    return parse


def _decline_of(declared: DeclaredAction) -> Callable[[HttpResponse], Declined | None]:
    def decline_of(response: HttpResponse) -> Declined | None:
        if response.status not in declared.declines:
            return None
        try:
            response.raise_for_status()
        except SystemRefused as refused:
            code = _code(declared, response)
            # A workflow sees the message alone.
            message = f"{refused.message} ({code})" if code and code not in refused.message else refused.message
            return Declined(refused.system, refused.status, message, code=code)
        return None

    return decline_of


def _code(declared: DeclaredAction, response: HttpResponse) -> str | None:
    """Find the system's word for its decision; None where its answer has none."""
    try:
        found = finder(declared.decline_code)(decoded(response)) if declared.decline_code else None
    except (PathDoesNotFit, ValueError, RecursionError):
        return None
    return redacted(found, response)[:100] if isinstance(found, str) else None


def _read_back(declared: DeclaredAction, lookup: Lookup, zone: str) -> ReadBack:
    output_schema = schema_of(declared, sample_output(declared, zone))

    def judge(given: Document, read: Document) -> Sighting:
        """Nothing but what is there is proof: a request that is late may still come."""
        if not is_done(lookup, given, read):
            return Sighting(Effect.UNCLEAR)
        output = read if declared.answer is None else {name: read.get(name) for name in declared.answer}
        return (
            Sighting(Effect.UNCLEAR) if any(errors_in(output_schema, output, "")) else Sighting(Effect.VISIBLE, output)
        )

    return ReadBack(input_of=lambda given: lookup_input(lookup, given), judge=judge)


def lookup_input(lookup: Lookup, given: Document) -> dict[str, Any]:
    """
    Fill the params of a lookup from those of its write.

    Raises:
        ExpressionInvalid: a mapping does not fit the params.

    """
    found: dict[str, Any] = mappings.mapped(dict(lookup.with_), given)
    return {name: value for name, value in found.items() if value is not None}


def is_done(lookup: Lookup, given: Mapping[str, Any], read: Mapping[str, Any]) -> bool:
    """Say whether what was read shows the effect; an expression that does not fit shows nothing."""
    try:
        return mappings.evaluate(lookup.done, {"params": given, "output": read}) is True
    except ExpressionInvalid:
        return False
