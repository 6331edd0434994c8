"""What a mapping puts out, from its text and the schemas of what it reads: wrong fields and types are found before it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crossdock.workflows.declared import mappings
from crossdock.workflows.declared.json_types import (
    ANY,
    Schema,
    array_of,
    field_of,
    fields_of,
    fits,
    in_words,
    item_of,
    object_of,
    of_value,
    types_of,
)
from crossdock.workflows.declared.mappings import ExpressionInvalid

#: Called with each mistake: the path that is wrong, and why.
Report = Callable[[str, str], None]

_TEXT, _NUMBER, _INTEGER, _BOOLEAN = ({"type": name} for name in ("string", "number", "integer", "boolean"))
_OF_FUNCTION: dict[str, Schema] = {
    **dict.fromkeys(("abs", "avg", "ceil", "floor", "sum"), _NUMBER),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "round", "to_major"), _NUMBER),
    "length": _INTEGER,
    "to_minor": _INTEGER,
    **dict.fromkeys(("contains", "ends_with", "starts_with"), _BOOLEAN),
    **dict.fromkeys(("join", "to_string", "type"), _TEXT),
    **dict.fromkeys(("keys", "map", "sort", "sort_by", "to_array", "values"), array_of(ANY)),
}

#: What the arguments of our own functions must be.
_ARGUMENTS: dict[str, tuple[Schema, Schema]] = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "round"), (_NUMBER, _NUMBER)),
    "to_minor": ({"type": ["number", "string"]}, _TEXT),
    "to_major": (_NUMBER, _TEXT),
}

_OF_NODE: dict[str, Schema] = {
    "multi_select_list": array_of(ANY),
    "comparator": {"type": ["boolean", "null"]},
    "not_expression": _BOOLEAN,
}


def type_of(mapping: Any, scope: Schema, report: Report) -> Schema:
    """Infer the schema of what a mapping puts out; *report* what it reads and cannot be there."""
    match mapping:
        case str():
            try:
                return _of(mappings.compiled(mapping), scope, "", report)[0]
            except ExpressionInvalid:
                return ANY  # reported where expressions are read
        case dict():
            return object_of({name: type_of(part, scope, report) for name, part in mapping.items()})
        case list():
            for part in mapping:
                type_of(part, scope, report)
            return array_of(ANY)
    return of_value(mapping)


def _of(node: dict[str, Any], scope: Schema, path: str, report: Report) -> tuple[Schema, str]:
    """Give the schema of a node of the tree in *scope*, and the path that it stands for."""
    match node["type"]:
        case "field":
            return _field(node["value"], scope, path, report)
        case "subexpression" | "index_expression" | "pipe":
            for child in node["children"]:
                scope, path = _of(child, scope, path, report)
            return scope, path
        case "index":
            return _item(scope, path, report), f"{path}[{node['value']}]"
        case "projection" | "filter_projection" | "flatten":
            return _listed(node, scope, path, report)
    return _built(node, scope, path, report), path


def _listed(node: dict[str, Any], scope: Schema, path: str, report: Report) -> tuple[Schema, str]:
    """Give the schema of what is made of each item of a list."""
    children = node["children"]
    listed, path = _of(children[0], scope, path, report)
    item = _item(listed, path, report)
    if node["type"] == "flatten":
        inner = types_of(item)
        return array_of(ANY if inner is None or "array" in inner else item), path
    if node["type"] == "filter_projection":
        _of(children[2], item, f"{path}[]", report)
    return array_of(_of(children[1], item, f"{path}[]", report)[0]), path


def _built(node: dict[str, Any], scope: Schema, path: str, report: Report) -> Schema:
    """Give the schema of what a node builds from its parts; in the end all of them are read, and what is missing is reported."""
    if node["type"] in ("identity", "current", "slice"):
        return scope
    if node["type"] == "literal":
        return of_value(node["value"])
    if node["type"] == "multi_select_dict":
        return object_of({pair["value"]: _of(pair["children"][0], scope, path, report)[0] for pair in node["children"]})
    read = [child for child in node.get("children", ()) if child["type"] != "expref"]
    parts = [_of(child, scope, path, report)[0] for child in read]
    if node["type"] in ("or_expression", "and_expression"):
        return {"anyOf": parts}
    if node["type"] != "function_expression":
        return _OF_NODE.get(node["type"], ANY)
    name = node["value"]
    for number, (given, wanted) in enumerate(zip(parts, _ARGUMENTS.get(name, ()), strict=False), 1):
        if not fits(given, wanted):
            report("", f"argument {number} of {name}() must be {in_words(wanted)}; it is {in_words(given)}")
    return _OF_FUNCTION.get(name, ANY)


def _field(name: str, scope: Schema, path: str, report: Report) -> tuple[Schema, str]:
    inner = f"{path}.{name}" if path else name
    found = field_of(scope, name)
    if found is not None:
        return found, inner
    known = fields_of(scope)
    if known:
        report(inner, f"{inner} does not exist; {path or 'the scope'} has {', '.join(known)}")
    else:
        report(inner, f"{inner} does not exist; {path or 'the scope'} is {in_words(scope)}")
    return ANY, inner


def _item(scope: Schema, path: str, report: Report) -> Schema:
    found = item_of(scope)
    if found is None:
        report(path, f"{path} is not a list; it is {in_words(scope)}")
        return ANY
    return found
