"""Text that would run in a page that does not escape it."""

from __future__ import annotations

SCRIPT = "<script>document.title='owned'</script>"
ATTRIBUTE = '"><img src=x onerror="document.title=\'owned\'">'
