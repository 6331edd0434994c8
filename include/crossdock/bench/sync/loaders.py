"""The loaders that are measured beside us, as command lines: our own floor, and the peers."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from crossdock.core.errors import BadRequest
from crossdock.stack.home import project

#: Filled in for each run; the mode is full or incr.
_ARGUMENTS = ("--entity", "{entity}", "--mode", "{mode}", "--schema", "{schema}")
#: Name → the Python environment below the peers' home, the script in the peers' folder, and its options.
_PEERS = {
    "floor-pipe2": ("core", "floor.py", "--variant", "pipe2"),
    "dlt-rest_api-default": ("dlt", "peer_dlt.py", "--style", "default"),
    "dlt-adbc-arrow": ("dlt", "peer_dlt.py", "--style", "adbc"),
    "singer-target-postgres": ("singer", "peer_singer.py"),
    "airflow-insert_rows": ("airflow", "peer_naive.py", "--style", "insert_rows"),
    "airflow-insert_rows-fast": ("airflow", "peer_naive.py", "--style", "insert_rows_fast"),
    "pandas-to_sql": ("airflow", "peer_naive.py", "--style", "to_sql"),
}
#: The peers know stock levels and products; orders have our own floor only.
_KNOWN_TO_PEERS = ("inventory", "products")
OWN_FLOOR = "floor"


def loaders_for(entity: str, peers_from: Path | None, selected: Sequence[str] = ()) -> dict[str, list[str]]:
    """
    Find the loaders of *entity*: name → command.

    Args:
        entity: The benchmark's name.
        peers_from: The folder of the peers' scripts; None for our own floor alone.
        selected: Only these; empty for all.

    Raises:
        BadRequest: an unknown name, or a peer whose environment is missing.

    """
    found = {OWN_FLOOR: own_floor()}
    if peers_from is not None and entity in _KNOWN_TO_PEERS:
        found |= {name: _peer(peers_from, *words) for name, words in _PEERS.items()}
    unknown = [name for name in selected if name not in found]
    if unknown:
        raise BadRequest(f"No loader {', '.join(unknown)} for {entity}. Known: {', '.join(found)}")
    return {name: found[name] for name in selected} if selected else found


def own_floor() -> list[str]:
    """
    Build the command of our own floor.

    Raises:
        BadRequest: the project's tests are missing, as in an image without them.

    """
    script = project() / "tests" / "bench" / "floor.py"
    if not script.exists():
        raise BadRequest(f"{script} is missing: the benchmark needs a whole copy of the project")
    return [sys.executable, "-P", str(script), *_ARGUMENTS]


def _peer(folder: Path, environment: str, script: str, *words: str) -> list[str]:
    home = Path(os.environ.get("BENCH_HOME") or Path(tempfile.gettempdir()) / "crossdock-bench")
    python = home / f"venv-{environment}" / "bin" / "python"
    for path in (folder / script, python):
        if not path.exists():
            raise BadRequest(f"{path} is missing. Set the peers up: {folder / 'peers.sh'} setup, or choose others")
    return [str(python), str(folder / script), *words, *_ARGUMENTS]
