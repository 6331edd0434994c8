"""The terms of a declared integration: a system that the hub reads by a YAML file, without code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from crossdock.http.model import CallPolicy, Limits, Rate

#: How a mapped value is stored: text, int8, bool, timestamptz, or JSON of any shape. A decimal is stored as exact text.
ValueType = Literal["text", "integer", "decimal", "boolean", "instant", "json"]

#: How an instant is written: one of these, or a pattern of strptime: `%d.%m.%Y %H:%M`.
INSTANT_FORMATS = ("iso", "epoch_s", "epoch_ms", "rfc2822", "dotnet")


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for signing requests; the secrets are in the Airflow connection."""

    kind: Literal["none", "basic", "bearer", "api_key", "jwt", "oauth2"] = "none"
    #: For an API key.
    header: str = "X-Api-Key"
    prefix: str = ""
    #: For a JWT, signed with the connection's password (a private key as PEM text, or a shared secret); its login is
    #: the issuer.
    algorithm: Literal["HS256", "RS256", "ES256"] = "RS256"
    audience: str = ""
    #: For OAuth 2 client credentials.
    token_path: str = "/oauth/token"  # noqa: S105  a path
    scope: str = ""


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How the next page is requested (pagination).

    page, offset: a counter. Rows that move while pages are read can be missed until the next full read.
    cursor: a token from the response. link: a URL from the response. keyset: a value of the last record.
    """

    kind: Literal["none", "page", "offset", "cursor", "link", "keyset"] = "none"
    #: The query parameter (the variable, in GraphQL) that says where the page begins.
    parameter: str = ""
    #: The parameter for the page size; empty if the system has none.
    size_parameter: str = ""
    #: Records per page.
    size: int = 100
    #: The first page's number.
    first: int = 1
    #: JMESPath of the next cursor or link in the response; without it, a link comes from the Link header (RFC 8288).
    next: str = ""
    #: Where the response announces how many records the list has: a JMESPath, or the name of a header.
    total: str = ""
    total_header: str = ""
    #: JMESPath that is true while there are more pages: `has_more`, `page < total_pages`, `!end_of_stream`.
    more: str = ""
    #: What the system answers past the end of the list: HTTP statuses, `errors` of GraphQL, or `repeat`: a page again.
    past_end: tuple[int | Literal["repeat", "errors"], ...] = ()
    #: JMESPath that is true of the body of such an answer: `code == 'invalid_page_number'`.
    past_end_if: str = ""
    #: A list of more pages fails.
    max_pages: int = 10_000
    #: Keyset: JMESPath of the value in the last record, and the condition made from it: `id > "{value}"`.
    value: str = ""
    template: str = "{value}"


class ChangedSince(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a delta requests the records changed at or after a time."""

    parameter: str
    #: Contains {instant}: ISO 8601 in UTC, with milliseconds and Z.
    template: str = "{instant}"


class Read(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The requests that read the system."""

    path: str
    #: JMESPath of the list of records in a response; `@` if the response is the list.
    records: str
    #: The GraphQL query, if the system is read over GraphQL; then `query` below contains its variables.
    graphql: str = ""
    query: Mapping[str, Any] = {}
    paging: Paging = Paging()
    #: Without it, every run reads everything.
    changed_since: ChangedSince | None = None
    #: Without `changed_since`: whether the list may be empty. If not, a run that finds no records is put on hold.
    may_be_empty: bool = False


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The identity and version of a record, as JMESPaths into it."""

    id: str
    #: Increases with every change. Without it, the microseconds of `changed_at` are the version.
    version: str = ""
    #: Without it, a record is as it is since it was read, and its content alone says whether it changed.
    changed_at: str = ""
    #: How `changed_at` is written, and its zone if it has none, as in a mapping.
    format: str = "iso"
    zone: str = ""
    #: The key that people know the record by; by default the id.
    key: str = ""
    #: What is compared with the hub's record. `content`: the version, and of the same version the mapped values. `version`:
    #: the version alone, for a system that counts it up with each change.
    compare: Literal["content", "version"] = "content"


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mapped value of a record."""

    path: str
    type: ValueType = "text"
    #: How an instant is written, one of INSTANT_FORMATS or a pattern; and the zone of one that names none.
    format: str = "iso"
    zone: str = ""
    #: What empty text (`""`, or blanks) is: no value, itself, or a reason for quarantine. By default, text and JSON keep it,
    #: other types refuse it.
    empty: Literal["null", "keep", "reject"] | None = None
    #: What no value is: accepted, or a reason for quarantine. By default, it is refused where an expectation reads it.
    missing: Literal["null", "reject"] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One expectation of Great Expectations."""

    name: str
    type: str
    arguments: Mapping[str, Any]
    message: str

    @property
    def columns(self) -> tuple[Any, ...]:
        named = (self.arguments.get(argument) for argument in ("column", "column_A", "column_B"))
        return tuple(column for column in named if column is not None)


class AnswerField(Field, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of an action's answer. It must be there, unless `missing` is `null`; empty text may be no value by `empty`."""

    #: Masked for those who may not see personal data.
    personal: bool = False


class ActionKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the system treats idempotency keys, by its documentation."""

    header: str
    #: How long it gives the same answer to the same key, counted from the first request. 0 if nobody says: then no request
    #: that may have arrived is repeated.
    window_s: float
    #: The status by which it says that another request with the key is at work.
    in_use: int = 409


class Lookup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How another action finds out what became of a write whose answer was lost."""

    #: A read of the same file. What it gives under the names of the write's `answer` is the write's answer.
    action: str
    #: Its params, as mappings of the write's params.
    with_: Mapping[str, Any] = msgspec.field(name="with", default={})
    #: JMESPath on `params` and `output` (what the read gave): true if the write had its effect. Otherwise a person decides.
    done: str


class ActionSample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Params of a call, and what the system answers to it: for tests of workflows, and to prove the mappings."""

    params: Mapping[str, Any] = {}
    answer: Any = None


class DeclaredAction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One call of the system that workflows may make. A GET reads; everything else has an effect there."""

    title: str
    description: str = ""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    #: Below the base URL; `{name}` is the param of that name.
    path: str
    #: Name → JSON Schema.
    params: Mapping[str, Mapping[str, Any]] = {}
    #: The params that may be left out.
    optional: tuple[str, ...] = ()
    #: Mappings of the params, as in workflows: a text is JMESPath.
    query: Mapping[str, Any] = {}
    headers: Mapping[str, Any] = {}
    body: Any = None
    #: What the action puts out; None: the answer as it is.
    answer: Mapping[str, AnswerField] | None = None
    #: None if the system knows no keys.
    key: ActionKey | None = None
    lookup: Lookup | None = None
    #: Statuses by which the system decides against a request: it had no effect, and is not tried again.
    declines: tuple[int, ...] = ()
    #: Other statuses of refusals, after which the system asks to try again: no effect.
    retries: tuple[int, ...] = ()
    #: JMESPath of the system's own word for such a decision, in its answer.
    decline_code: str = ""
    sample: ActionSample = ActionSample()

    @property
    def is_read(self) -> bool:
        return self.method == "GET"


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Total time of one attempt.
    timeout_s: float = 20.0
    attempts: int = 4
    #: Rate limit for all workers together; None for no limit.
    calls_per_s: float | None = None

    @property
    def policy(self) -> CallPolicy:
        """The call policy for the HTTP client."""
        rate = Rate.of_calls_per_s(self.calls_per_s) if self.calls_per_s else None
        return CallPolicy(limits=Limits(timeout_s=self.timeout_s, attempts=self.attempts), rate=rate)


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One declared integration: it syncs one list of one system into one table."""

    #: The file's name; also the ID of the integration and of its Airflow connection.
    name: str
    title: str
    #: Used unless the connection has a host.
    base_url: str
    auth: Auth = Auth()
    read: Read
    identity: Identity
    #: `record` stores the mapped values as JSON; the name of a dataset stores them as its columns, under its rules.
    target: str = "record"
    mapping: Mapping[str, Field]
    expectations: tuple[Rule, ...] = ()
    limits: ReadLimits = ReadLimits()
    #: Cron expression; without it, runs start only on demand.
    schedule: str | None = None
    #: The time zone (`Europe/Berlin`) of every instant that names none and has no `zone` of its own.
    zone: str = ""
    #: What workflows may call.
    actions: Mapping[str, DeclaredAction] = {}

    @property
    def fields(self) -> dict[str, Field]:
        """The mapping, each field with its zone."""
        return {
            name: msgspec.structs.replace(field, zone=field.zone or self.zone) for name, field in self.mapping.items()
        }

    @property
    def changed_at(self) -> Field | None:
        """The time of change; None for a system without times."""
        own = self.identity
        if not own.changed_at:
            return None
        return Field(path=own.changed_at, type="instant", format=own.format, zone=own.zone or self.zone)
