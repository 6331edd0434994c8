"""The words of a declared integration: a system that the hub reads by a YAML file, without code of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from crossdock.http.model import CallPolicy, Limits, Rate

#: How a mapped value is kept: as text, int8, bool, timestamptz, or JSON of any shape. A decimal is exact text.
ValueType = Literal["text", "integer", "decimal", "boolean", "instant", "json"]


class Auth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How requests are signed; the secrets themselves are in the connection."""

    kind: Literal["none", "basic", "bearer", "api_key", "jwt", "oauth2"] = "none"
    #: Of an API key.
    header: str = "X-Api-Key"
    prefix: str = ""
    #: Of a JWT that we sign with the connection's secret (a key as PEM text, or shared) and whose issuer is its login.
    algorithm: Literal["HS256", "RS256", "ES256"] = "RS256"
    audience: str = ""
    #: Of OAuth 2 client credentials.
    token_path: str = "/oauth/token"  # noqa: S105  a path
    scope: str = ""


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How the next page is asked for.

    page, offset: a number that counts up. Rows that move while pages are read can be missed until the next full read.
    cursor: a word of the answer. link: an address of the answer. keyset: the last record's own value.
    """

    kind: Literal["none", "page", "offset", "cursor", "link", "keyset"] = "none"
    #: The query's parameter (in GraphQL the variable) that says where the page begins.
    parameter: str = ""
    #: The one that says how many records it may have, and how many are asked for; empty where it cannot be said.
    size_parameter: str = ""
    size: int = 100
    #: The first page's number.
    first: int = 1
    #: JMESPath of the next cursor or address in the answer; a link without it is taken from the Link header (RFC 8288).
    next: str = ""
    #: JMESPath of the value in a record that a keyset goes on after, and how it is said: `id > "{value}"`.
    value: str = ""
    template: str = "{value}"


class ChangedSince(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a delta asks for what changed at or after an instant."""

    parameter: str
    #: With {instant}: ISO 8601 in UTC, milliseconds and Z.
    template: str = "{instant}"


class Read(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked of the system."""

    path: str
    #: JMESPath of the list of records in an answer; `@` where the answer is the list.
    records: str
    #: GraphQL: the query; then `query` below are its variables.
    graphql: str = ""
    query: Mapping[str, Any] = {}
    paging: Paging = Paging()
    #: Absent: every run reads everything.
    changed_since: ChangedSince | None = None


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which record it is and how new: JMESPaths into one record."""

    id: str
    #: Counts up with every change; absent: the microseconds of `changed_at`.
    version: str = ""
    changed_at: str
    #: The name that people know it by; by default the id.
    key: str = ""


class Field(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One value of a record."""

    path: str
    type: ValueType = "text"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An expectation of Great Expectations."""

    name: str
    type: str
    arguments: Mapping[str, Any]
    message: str


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Of one attempt, in all.
    timeout_s: float = 20.0
    attempts: int = 4
    #: Of all workers together; None for as many as they can.
    calls_per_s: float | None = None

    @property
    def policy(self) -> CallPolicy:
        """The same for the one client; a turn may be as far away as a slow system asks for."""
        rate = Rate.of_calls_per_s(self.calls_per_s) if self.calls_per_s else None
        limits = Limits(timeout_s=self.timeout_s, attempts=self.attempts)
        if rate:
            limits = msgspec.structs.replace(limits, longest_wait_s=max(limits.longest_wait_s, 3 * rate.spacing_s))
        return CallPolicy(limits=limits, rate=rate)


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One declared integration: one list of one system into one table."""

    #: The file's name, which is also that of the entity, the Airflow connection and, after `sync_`, the DAG.
    name: str
    title: str
    #: The connection's host takes its place where it has one.
    base_url: str
    auth: Auth = Auth()
    read: Read
    identity: Identity
    #: `record` keeps the mapped values as JSON; in `inventory` they are the columns, under the rules of every stock level.
    target: Literal["record", "inventory"] = "record"
    mapping: Mapping[str, Field]
    expectations: tuple[Rule, ...] = ()
    limits: ReadLimits = ReadLimits()
    #: Cron; absent for never by itself.
    schedule: str | None = None


class Mistake(msgspec.Struct, frozen=True):
    """What is wrong at one place of a declaration's file."""

    line: int
    pointer: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.pointer or '/'}: {self.message}"
