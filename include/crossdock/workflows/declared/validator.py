"""Validate a definition: all mistakes at once, each with its line, its JSON pointer and what was expected there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from crossdock.core.errors import BadRequest
from crossdock.workflows.declared import calls, cautions, dataflow, structure
from crossdock.workflows.declared.document import Document, check_form, count_steps, read, workflow_of
from crossdock.workflows.declared.model import MOST_STEPS, Caution, Finding, Rule, Workflow
from crossdock.workflows.declared.ports import Catalog

#: More findings help nobody.
MOST_FINDINGS = 200


@dataclass(frozen=True)
class Validated:
    """A definition and what is wrong with it."""

    #: None if it could not be read at all.
    workflow: Workflow | None
    findings: tuple[Finding, ...]
    #: What is allowed and probably not meant; of a definition in which nothing is wrong.
    warnings: tuple[Finding, ...] = ()
    #: The definition as JSON would have it.
    value: object = None


class InvalidWorkflow(BadRequest):
    """A definition is not valid; `findings` lists every mistake."""

    def __init__(self, name: str, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join([f"{name} is not valid:", *(f"  {finding}" for finding in self.findings)]))


def validate(text: str, catalog: Catalog) -> Validated:
    """Read and validate a definition in YAML or JSON."""
    document, findings = read(text)
    if findings:
        return Validated(None, _ordered(findings))
    if (many := count_steps(document.value)) > MOST_STEPS:
        # Nothing else is checked: it would take a minute.
        too_many = f"has {many:,} steps; a workflow has {MOST_STEPS} at most"
        return Validated(None, (Finding(Rule.TOO_LARGE, document.line_of("/do"), "/do", too_many),))
    findings = check_form(document)
    workflow = workflow_of(document, findings)
    findings += _placed(document, structure.check(workflow))
    findings += _placed(document, calls.check(workflow, document.value, catalog))
    findings += _placed(document, dataflow.check(workflow, catalog))
    warnings = [] if findings else _placed(document, cautions.check(workflow, catalog))
    return Validated(workflow, _ordered(findings), _ordered(warnings), document.value)


def _placed(document: Document, mistakes: Iterable[tuple[Rule | Caution, str, str]]) -> list[Finding]:
    return [Finding(rule, document.line_of(at), at, message) for rule, at, message in mistakes]


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    unique = dict.fromkeys(sorted(findings, key=lambda finding: (finding.line, finding.pointer, finding.rule)))
    return tuple(unique)[:MOST_FINDINGS]
