"""Is it good? Rows and expectations in, failures out. Great Expectations checks every row."""

from include.quality.check import check

__all__ = ["check"]
