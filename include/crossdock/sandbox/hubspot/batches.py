"""The calls for many contacts: read and upsert, each with an outcome for every input."""

from collections.abc import Callable
from typing import Any

from crossdock.sandbox.engine.messages import Response, json_response
from crossdock.sandbox.hubspot.problems import CrmProblem, invalid, not_found
from crossdock.sandbox.hubspot.properties import ALWAYS, DEFAULT, EMAIL, UNIQUE, faults_of, stored
from crossdock.sandbox.hubspot.state import ContactState

_MOST = 100


def read(state: ContactState, document: dict[str, Any]) -> Response:
    """Read contacts by ID or by a unique property; those that do not exist are errors beside the others (207)."""
    id_property = document.get("idProperty")
    names = tuple(document.get("properties") or DEFAULT)
    found, missing = [], []
    with state.lock:
        for given in _inputs(document, id_property):
            contact = state.find(given["id"], id_property)
            if contact is None:
                missing.append(given["id"])
            elif contact not in found:
                found.append(contact)
    errors = [_error(not_found("Could not get some contacts"), ids=missing)] if missing else []
    return _answer([contact.document(names) for contact in found], errors)


def upsert(state: ContactState, document: dict[str, Any]) -> Response:
    """
    Create or update contacts by a unique property.

    By e-mail address it is all or nothing, as at the vendor. By another property each input has an outcome of its own.
    """
    inputs = _inputs(document, None)
    properties = {given.get("idProperty") for given in inputs}
    if len(properties) != 1 or not properties <= UNIQUE:
        raise invalid("Unable to perform update/upsert by non-unique 0-1 property")
    (id_property,) = properties
    _refuse_repeated(inputs, str(id_property))
    with state.lock:
        if id_property == EMAIL:
            _refuse_invalid(state, inputs)
        results, errors = [], []
        for given in inputs:
            try:
                results.append(_upserted(state, given, str(id_property)))
            except CrmProblem as problem:
                trace = given.get("objectWriteTraceId")
                errors.append(_error(problem, **({"objectWriteTraceId": [trace]} if trace else {})))
    return _answer(results, errors)


def _upserted(state: ContactState, given: dict[str, Any], id_property: str) -> dict[str, Any]:
    values, known = given.get("properties") or {}, state.find(given["id"], id_property)
    contact = state.update(known, values) if known else state.create({id_property: given["id"], **values})
    trace = {"objectWriteTraceId": given["objectWriteTraceId"]} if given.get("objectWriteTraceId") else {}
    return {**contact.document((*ALWAYS, id_property, *values)), "new": known is None, **trace}


def _refuse_invalid(state: ContactState, inputs: list[dict[str, Any]]) -> None:
    """Refuse the whole batch if one of its inputs would be refused."""
    for given in inputs:
        values = {EMAIL: given["id"], **(given.get("properties") or {})}
        if faults := faults_of(values):
            raise invalid(f"{given['id']}: {faults[0]['message']}")
        other, own = state.find(values[EMAIL], EMAIL), state.find(given["id"], EMAIL)
        if other and other != own:
            raise CrmProblem(409, "CONFLICT", f"Contact already exists. Existing ID: {other.id}")


def _inputs(document: dict[str, Any], id_property: str | None) -> list[dict[str, Any]]:
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise invalid("inputs must not be empty")
    if len(inputs) > _MOST:
        raise invalid(f"The maximum number of inputs supported in a batch request for object reads is {_MOST}.")
    for given in inputs:
        if not isinstance(given, dict) or not isinstance(given.get("id"), str):
            raise invalid("Invalid input JSON: an input has no id")
    if id_property is not None:
        _refuse_repeated(inputs, id_property)
    return inputs


def _refuse_repeated(inputs: list[dict[str, Any]], id_property: str) -> None:
    ids = [stored(id_property, given["id"]) for given in inputs]
    if len(set(ids)) < len(ids):
        raise invalid("Duplicate IDs found in batch input")


def _answer(results: list[dict[str, Any]], errors: list[dict[str, Any]]) -> Response:
    at = "2026-01-01T00:00:00.000Z"
    document = {"status": "COMPLETE", "results": results, "requestedAt": at, "startedAt": at, "completedAt": at}
    if not errors:
        return json_response(200, document)
    return json_response(207, {**document, "numErrors": len(errors), "errors": errors})


def _error(problem: CrmProblem, **context: list[str]) -> dict[str, Any]:
    return {
        "status": "error",
        "category": problem.category,
        "message": problem.message,
        "context": context,
        "errors": problem.body.get("errors", []),
        "links": {},
        "subCategory": {},
    }


#: The calls by the last part of their path.
BATCHES: dict[str, Callable[[ContactState, dict[str, Any]], Response]] = {"read": read, "upsert": upsert}
