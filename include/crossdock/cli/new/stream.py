"""Plan a stream: its module, contract, test and sample records, and its line in the connector's manifest."""

from __future__ import annotations

import json
import re

from crossdock.cli.new import dataset_code
from crossdock.cli.new.files import Plan, rendered
from crossdock.core.errors import BadRequest

#: The list of streams in a manifest. It is edited as text, so that the rest of the file stays as a person wrote it.
_STREAMS = re.compile(r'"streams": \[(.*?)\]', re.DOTALL)


def plan_stream(plan: Plan, connector: str, dataset: str) -> str:
    """
    Plan the stream of *dataset* for *connector*; return the folder of its tests.

    Raises:
        BadRequest: there is no such connector or dataset.
        Conflict: the connector has a stream of that dataset.

    """
    folder, tests = f"include/crossdock/connectors/{connector}", f"tests/connectors/{connector}"
    for needed in ("client.py", "field_types.py", "manifest.json"):
        if not plan.exists(f"{folder}/{needed}"):
            raise BadRequest(
                f"{connector!r} is not a connector with streams: {folder} has no {needed}. "
                f"A new one: ./hub new connector {connector}"
            )
    values = _values(plan, folder, connector, dataset)
    schema = dataset_code.record_class(dataset).schema
    plan.create(f"{folder}/{dataset}.py", rendered("stream/stream", values))
    plan.create(f"{folder}/{dataset}.schema.json", _json(dataset_code.contract(schema, values["title"])))
    plan.change(f"{folder}/manifest.json", lambda text: _with_stream(text, values))
    plan.create(f"{tests}/{dataset}.json", _json(dataset_code.samples(schema)))
    plan.create(f"{tests}/test_{dataset}.py", rendered("stream/test_stream", values))
    return tests


def _values(plan: Plan, folder: str, connector: str, dataset: str) -> dict[str, str]:
    record = dataset_code.record_class(dataset)
    manifest = f"{folder}/manifest.json"
    document = json.loads(plan.created.get(manifest) or (plan.root / manifest).read_text(encoding="utf-8"))
    return {
        "name": connector,
        "title": document["title"],
        "dataset": dataset,
        "constant": dataset.upper(),
        "record": record.__name__,
        "key_field": dataset_code.camel(record.schema.key),
        "field_types": dataset_code.field_types(record.schema),
        "fields": dataset_code.record_fields(record.schema),
        "columns": dataset_code.mapping(record.schema),
        "lines_fields": dataset_code.lines_fields(record.schema),
    }


def _with_stream(manifest: str, values: dict[str, str]) -> str:
    entry = "crossdock.connectors.{name}.{dataset}:{constant}".format_map(values)

    def edited(found: re.Match[str]) -> str:
        listed = [*json.loads(f"[{found[1]}]"), entry]
        return '"streams": [\n' + ",\n".join(f'      "{each}"' for each in listed) + "\n    ]"

    return _STREAMS.sub(edited, manifest, count=1)


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
