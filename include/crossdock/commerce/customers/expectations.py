"""The rules that every customer must pass."""

from __future__ import annotations

from crossdock.core.printable import UNPRINTABLE
from crossdock.sync.quarantine.model import Expectation
from crossdock.sync.standard_expectations import none_listed, source_rules

EXPECTATIONS = (
    *source_rules("created_at"),
    Expectation(
        "email_is_well_formed",
        "expect_column_values_to_match_regex",
        # Only its shape: whether an address receives mail, no pattern can say.
        {"column": "email", "regex": rf"^[^\s@{UNPRINTABLE}]{{1,64}}@[^\s@{UNPRINTABLE}]{{1,255}}\Z"},
        "An e-mail address such as ada@example.com is expected. Correct it at the source",
    ),
    Expectation(
        "last_name_is_not_blank",
        "expect_column_value_lengths_to_be_between",
        {"column": "last_name", "min_value": 1},
        "The last name is blank. Enter it at the source, or remove the field there",
    ),
    none_listed(
        "countries_are_known",
        "countries_unknown",
        "A country must be an ISO 3166 code of two letters, such as DE. Correct the addresses at the source",
    ),
)
