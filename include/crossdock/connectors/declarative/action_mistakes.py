"""Mistakes of declared actions that a schema cannot see; each with its place, what was expected, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from crossdock.connectors.declarative.action_answer import AnswerInvalid, exact, output_of, schema_of
from crossdock.connectors.declarative.action_request import PLACEHOLDER, expressions, filled
from crossdock.connectors.declarative.actions import input_schema, is_done, lookup_input, sample_output
from crossdock.connectors.declarative.field_mistakes import mistakes_of
from crossdock.connectors.declarative.model import Auth, Declaration, DeclaredAction, Lookup
from crossdock.core.errors import BadRequest
from crossdock.integrations.json_schema import errors_in
from crossdock.workflows.declared import mappings
from crossdock.workflows.declared.json_types import ANY, Schema, inlined, object_of, types_of
from crossdock.workflows.declared.mapping_types import type_of
from crossdock.workflows.declared.mappings import ExpressionInvalid

Mistakes = Iterator[tuple[str, str]]

#: They say who asks, where to, or how request and answer are framed: the connection and the client write them.
_OWN_HEADERS = frozenset(
    {
        *("authorization", "connection", "content-length", "content-type", "cookie", "expect", "host", "keep-alive"),
        *("accept-encoding", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
#: Refusals of who asks, and answers after which a later request may succeed: the client knows them.
_NO_DECISIONS = frozenset({401, 403, 408, 425, 429})
_OF_WRITES = ("body", "key", "lookup", "declines", "decline_code")
#: Their schema would be fetched from somewhere.
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
#: What may stand in a path.
_ONE_STEP = frozenset({"string", "integer"})


def of(declaration: Declaration) -> Mistakes:
    """Yield the place and the mistake of each action of *declaration*."""
    found = {name: list(_own_mistakes(declaration, name)) for name in declaration.actions}
    for name, declared in declaration.actions.items():
        yield from found[name]
        if declared.lookup is not None and not found[name] and not found[declared.lookup.action]:
            read = declaration.actions[declared.lookup.action]
            yield from _proof_mistakes(declared, declared.lookup, read, f"/actions/{name}/lookup", declaration.zone)


def _own_mistakes(declaration: Declaration, name: str) -> Mistakes:
    """Yield what is wrong in the action *name*, whatever the sample of its lookup says."""
    declared, at = declaration.actions[name], f"/actions/{name}"
    yield from _header_mistakes(declared, at, declaration.auth)
    yield from _status_mistakes(declared, at)
    yield from _retry_mistakes(declared, at)
    yield from _kind_mistakes(declared, at)
    yield from _lookup_mistakes(declaration, declared, at)
    for value, field in (declared.answer or {}).items():
        yield from mistakes_of(f"{at}/answer/{value}", field)
    yield from _params_mistakes(declaration, declared, at)


def _params_mistakes(declaration: Declaration, declared: DeclaredAction, at: str) -> Mistakes:
    """Yield the mistakes of the params, else of what reads them; a sample proves nothing of an action that is wrong without it."""
    if wrong := list(_schema_mistakes(declared, at)):
        yield from wrong
        return
    wrong = [*_path_mistakes(declared, at), *_expression_mistakes(declaration, declared, at)]
    yield from wrong or _sample_mistakes(declared, at, declaration.zone)


def _schema_mistakes(declared: DeclaredAction, at: str) -> Mistakes:
    from jsonschema import Draft202012Validator, SchemaError  # type: ignore[import-untyped]  # noqa: PLC0415  only to validate

    for name, schema in declared.params.items():
        if _has_reference(schema):
            yield f"{at}/params/{name}", "must be complete by itself: no $ref"
            continue
        if not _is_json(schema):
            yield (
                f"{at}/params/{name}",
                "has a value that JSON does not have, or a number of more than 64 bits; a date goes into quotes: '2026-11-21'",
            )
            continue
        try:
            Draft202012Validator.check_schema(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        except SchemaError as error:
            where = "/".join(map(str, error.absolute_path))
            yield (
                f"{at}/params/{name}",
                f"is not a JSON Schema ({where or 'as a whole'}); expected something like {{type: string}}",
            )
    for number, name in enumerate(declared.optional):
        if name not in declared.params:
            yield f"{at}/optional/{number}", f"{name} is not a param; params: {_listed(declared.params)}"


def _has_reference(schema: Any) -> bool:
    match schema:
        case dict():
            return any(name in _REFERENCES or _has_reference(part) for name, part in schema.items())
        case list():
            return any(map(_has_reference, schema))
    return False


def _is_json(value: Any) -> bool:
    match value:
        case dict():
            return all(isinstance(name, str) and _is_json(part) for name, part in value.items())
        case list():
            return all(map(_is_json, value))
        case float():
            return isfinite(value)
        case int():
            return -(2**63) <= value < 2**64
    return value is None or isinstance(value, str)


def _path_mistakes(declared: DeclaredAction, at: str) -> Mistakes:
    for name in PLACEHOLDER.findall(declared.path):
        if name not in declared.params:
            yield f"{at}/path", f"{{{name}}} is not a param; params: {_listed(declared.params)}"
        elif name in declared.optional:
            yield f"{at}/path", f"{{{name}}} is needed in the path, so it cannot be optional"
        elif not (types_of(declared.params[name]) or frozenset({"any"})) <= _ONE_STEP:
            yield f"{at}/params/{name}", "stands in the path: its type must be string or integer"
    if set("{}") & set(PLACEHOLDER.sub("", declared.path)):
        yield f"{at}/path", "has a brace that begins or ends no param; write {param}"


def _header_mistakes(declared: DeclaredAction, at: str, auth: Auth) -> Mistakes:
    own = _OWN_HEADERS | ({auth.header.lower()} if auth.kind == "api_key" else set())
    if declared.key is not None and declared.key.header.lower() in own:
        yield f"{at}/key/header", f"{declared.key.header} is written by the hub; a key has a header of its own"
    for name in declared.headers:
        if name.lower() in own:
            yield f"{at}/headers/{name}", "is written by the hub; credentials are in the integration's connection"
        elif declared.key is not None and name.lower() == declared.key.header.lower():
            yield f"{at}/headers/{name}", "carries the key of each effect, which the hub makes; leave it out here"


def _status_mistakes(declared: DeclaredAction, at: str) -> Mistakes:
    for number, status in enumerate(declared.declines):
        if status in _NO_DECISIONS:
            meaning = "refuses the credentials" if status in {401, 403} else "asks to try again"
            yield f"{at}/declines/{number}", f"{status} is no decision: it {meaning}"
        elif declared.key is not None and status == declared.key.in_use:
            yield (
                f"{at}/declines/{number}",
                f"{status} means here that another request with the key is at work. Declare another status as key.in_use",
            )


def _retry_mistakes(declared: DeclaredAction, at: str) -> Mistakes:
    for number, status in enumerate(declared.retries):
        if status in {401, 403}:
            yield f"{at}/retries/{number}", f"{status} refuses the credentials: to try again may lock the account"
        elif status in _NO_DECISIONS:
            yield f"{at}/retries/{number}", f"{status} always asks to try again: leave it out"
        elif status in declared.declines:
            yield (
                f"{at}/retries/{number}",
                f"{status} is in declines too; it is a decision or asks to try again, not both",
            )


def _kind_mistakes(declared: DeclaredAction, at: str) -> Mistakes:
    given = {name: getattr(declared, name) for name in _OF_WRITES}
    if declared.is_read:
        yield from (
            (f"{at}/{name}", "is of calls with an effect; a GET has none") for name, value in given.items() if value
        )


def _lookup_mistakes(declaration: Declaration, declared: DeclaredAction, at: str) -> Mistakes:
    lookup = declared.lookup
    if lookup is None:
        return
    reads = {name: each for name, each in declaration.actions.items() if each.is_read}
    if lookup.action not in reads:
        yield f"{at}/lookup/action", f"{lookup.action} is not a GET of this file; there are: {_listed(reads)}"
        return
    read = reads[lookup.action]
    for name in lookup.with_:
        if name not in read.params:
            yield f"{at}/lookup/with/{name}", f"is not a param of {lookup.action}; its params: {_listed(read.params)}"
    for name in read.params:
        if name not in lookup.with_ and name not in read.optional:
            yield f"{at}/lookup/with", f"lacks {name}, which {lookup.action} needs"
    if declared.answer and read.answer and (missing := [name for name in declared.answer if name not in read.answer]):
        yield f"{at}/lookup/action", f"{lookup.action} does not give {', '.join(missing)}, which this action puts out"


def _proof_mistakes(declared: DeclaredAction, lookup: Lookup, read: DeclaredAction, at: str, zone: str) -> Mistakes:
    """Yield where the samples of a write and of its lookup do not bear out the lookup."""
    sample = declared.sample.params
    required = {name: value for name, value in sample.items() if name not in declared.optional}
    for params, of_what in ((sample, "the sample"), (required, "the sample without its optional params")):
        try:
            given = lookup_input(lookup, params)
            wrong = [(error.pointer, error.message) for error in errors_in(input_schema(read), given, "")]
            if not wrong:
                filled(read, given)
        except BadRequest as error:
            wrong = [("", str(error))]
        if wrong:
            yield from ((f"{at}/with{place}", f"{message}, filled from {of_what}") for place, message in wrong)
            return
    output = sample_output(read, zone)
    if output is not None and not is_done(lookup, sample, output):
        yield f"{at}/done", f"is not true for the sample and the sample of {lookup.action}; both are of one effect"


def _expression_mistakes(declaration: Declaration, declared: DeclaredAction, at: str) -> Mistakes:
    scope = inlined(input_schema(declared))
    places = list(expressions(declared))
    if declared.lookup is not None:
        places += [(f"/lookup/with/{name}", mapping) for name, mapping in declared.lookup.with_.items()]
    for place, mapping in places:
        yield from _mapping_mistakes(mapping, f"{at}{place}", scope)
    # What they read comes from the system: nothing is known of it.
    answers = {f"/answer/{name}/path": field.path for name, field in (declared.answer or {}).items()}
    answers |= {"/decline_code": declared.decline_code} if declared.decline_code else {}
    for place, text in answers.items():
        yield from _mapping_mistakes(text, f"{at}{place}", ANY)
    if declared.lookup is not None:
        read = declaration.actions.get(declared.lookup.action)
        known = object_of({"params": scope, "output": ANY if read is None else schema_of(read, None)})
        yield from _mapping_mistakes(declared.lookup.done, f"{at}/lookup/done", known)


def _mapping_mistakes(mapping: Any, at: str, scope: Schema) -> Mistakes:
    for place, text in mappings.expressions_in(mapping, at):
        yield from ((place, message) for message in _wrong_in(text, scope))


def _wrong_in(text: str, scope: Schema) -> list[str]:
    """Say what is wrong in one expression: it is none, or reads what is not there."""
    try:
        mappings.compiled(text)
    except ExpressionInvalid as error:
        return [f"{error}. A fixed text has quotes of its own: \"'text'\""]
    found: list[str] = []
    type_of(text, scope, lambda _path, message: found.append(message))
    return found


def _sample_mistakes(declared: DeclaredAction, at: str, zone: str) -> Mistakes:
    sample = declared.sample
    if wrong := list(errors_in(input_schema(declared), sample.params, f"{at}/sample/params")):
        yield from ((error.pointer, f"{error.message}; the sample is a valid call") for error in wrong)
        return
    try:
        filled(declared, sample.params)
    except BadRequest as error:
        yield f"{at}/sample/params", f"make no request: {error}"
    if sample.answer is None:
        return
    try:
        output_of(declared, exact(sample.answer), zone)
    except AnswerInvalid as error:
        place = f"{at}/answer/{error.field}" if error.field else f"{at}/sample/answer"
        yield place, f"does not fit the sample, whose answer {error}"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"
