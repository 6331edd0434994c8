"""Types that several threads decode are prepared when their module is imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parents[2] / "include" / "crossdock"
_DECODE_AT_ONCE = """
import sys, threading
import msgspec
from crossdock.core.decoding import prepare

sys.setswitchinterval(1e-6)

class Line(msgspec.Struct, frozen=True):
    number: int
    text: str
    parts: "list[int] | None" = None

class Page(msgspec.Struct, frozen=True):
    lines: tuple[Line, ...]
    by_name: dict[str, Line]

prepare(Page)
together = threading.Barrier(8)

def decode():
    together.wait()
    msgspec.json.decode(b'{"lines": [{"number": 1, "text": "a"}], "by_name": {}}', type=Page)

threads = [threading.Thread(target=decode) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_that_first_decode_a_prepared_type_together_do_not_crash() -> None:
    """Without `prepare`, about four of ten such processes end with a segmentation fault."""
    for _ in range(10):
        done = subprocess.run([sys.executable, "-c", _DECODE_AT_ONCE], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_type_that_is_decoded_into_is_prepared() -> None:
    """A decoder at module level prepares its type; `decode(…, type=…)` and `convert(…)` need `prepare`."""
    calls = [call for path in _PACKAGE.rglob("*.py") for call in _calls(path)]
    prepared = {ast.unparse(type_) for name, call in calls if name == "prepare" for type_ in call.args}
    decoded = {_decoded_type(call) for name, call in calls if name in {"msgspec.convert", "msgspec.json.decode"}}

    # `cls` is SyncRequest or a subclass; a stream prepares its `record_type`, the module of webhooks its `message_type`.
    assert decoded - {None, "cls", "record_type", "message_type"} <= prepared


def _calls(path: Path) -> list[tuple[str, ast.Call]]:
    tree = ast.parse(path.read_text())
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _decoded_type(call: ast.Call) -> str | None:
    by_name = [keyword.value for keyword in call.keywords if keyword.arg == "type"]
    by_position = call.args[1:]
    return ast.unparse((by_name + by_position)[0]) if by_name or by_position else None
