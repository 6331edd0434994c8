"""The formats of exported files. Here, because a command line that names them must not load what writes them."""

from __future__ import annotations

from enum import StrEnum


class ExportFormat(StrEnum):
    """What an exported file is written as."""

    PARQUET = "parquet"
    CSV = "csv"
