"""The programs of the benchmark as child processes: the source, our warm worker, and other loaders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from crossdock.bench.meter import PeakMemory, cpu_s, ended_children_cpu_s, pss_mb
from crossdock.bench.server import Server
from crossdock.bench.sync import database
from crossdock.bench.sync.collection import Sums
from crossdock.bench.sync.figures import Sample
from crossdock.core.errors import Terminal

_MB = 1024 * 1024
#: How much of a failed program's standard error is shown.
_SHOWN_CHARACTERS = 600
_PROGRAM_TIMEOUT_S = 900.0


class ProgramFailed(Terminal):
    """A program of the benchmark ended unexpectedly."""


class Child:
    """`python -m` *words*, which answers in lines of JSON. Its first line says that it is ready."""

    def __init__(self, *words: str) -> None:
        # In a session of its own: Ctrl-C is for this process, which ends it, and would print a stack trace there.
        command = [sys.executable, "-P", "-m", *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.pid = self._process.pid
        try:
            self.ready = self._answer()
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The signal comes first: after the end of its input it could interrupt a child that is already ending.
        self._process.terminate()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()

    def request(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None  # noqa: S101  for the type checker
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101  for the type checker
        line = self._process.stdout.readline()
        if not line:
            raise ProgramFailed(f"A program of the benchmark ended with {self._process.wait()}; its output is above")
        document: dict[str, Any] = json.loads(line)
        return document


class SourceProcess(Child):
    """The source, from its start to the end of the block."""

    def __init__(self, entity: str, rows: int, *, dataset: Path | None = None, ids: str = "random") -> None:
        more = ["--dataset", str(dataset)] if dataset else []
        super().__init__("crossdock.bench.sync.source", "--entity", entity, "--rows", str(rows), "--ids", ids, *more)
        self.url = f"http://127.0.0.1:{self.ready['port']}"
        #: The same source without a record.
        self.empty_url = f"http://127.0.0.1:{self.ready['empty_port']}"

    def reset(self) -> None:
        self._call("reset")

    def mutate(self, fraction: float) -> int:
        """Change this share of the records; return how many that is."""
        return int(self._call(f"mutate?fraction={fraction}")["changed"])

    @contextmanager
    def delayed(self, latency_ms: float) -> Iterator[None]:
        """Delay each page while the block runs."""
        self._call(f"latency?ms={latency_ms}")
        try:
            yield
        finally:
            self._call("latency?ms=0")

    def sums(self) -> Sums:
        return Sums(**self._call("sums"))

    def _call(self, action: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/admin/{action}", timeout=60) as answer:  # noqa: S310  our own process
            document: dict[str, Any] = json.load(answer)
        return document


class Bench(NamedTuple):
    """The source and the database that all loaders of a run share."""

    source: SourceProcess
    server: Server


class WarmWorker(Child):
    """Our three tasks in a child process that has imported everything and waits."""

    def __init__(
        self, bench: Bench, entity: str, schema: str, *, pages_in_flight: int | None = None, shard: str | None = None
    ) -> None:
        self._bench = bench
        options = {
            "source": bench.source.url,
            "dsn": bench.server.dsn,
            "schema": schema,
            "entity": entity,
            "landing": str(bench.server.folder / "landing" / schema),
            **({"pages-in-flight": str(pages_in_flight)} if pages_in_flight else {}),
            **({"shard": shard} if shard else {}),
        }
        began, server_before = time.perf_counter(), cpu_s(bench.server.pid)
        super().__init__(
            "crossdock.bench.sync.worker", *[word for name, value in options.items() for word in (f"--{name}", value)]
        )
        self.start = Sample(
            wall_s=time.perf_counter() - began,
            client_cpu_s=self.ready["cpu_s"],
            postgres_cpu_s=cpu_s(bench.server.pid) - server_before,
            peak_pss_mb=pss_mb(self.pid),
        )

    def run(self, step: str) -> Sample:
        """Run the three tasks of *step* and measure them."""
        return _measured(self._bench, self.pid, lambda: self.request(step))


def run_program(bench: Bench, command: Sequence[str], *, url: str) -> Sample:
    """
    Run *command*, a whole loader, and measure it from its start to its end.

    It reads the addresses of database and source from BENCH_DSN and BENCH_URL. A failure becomes the sample's problem.
    """
    environment: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "BENCH_DSN": bench.server.dsn,
        "BENCH_URL": url,
        # The peers keep their state between steps here; it is deleted between rounds.
        "BENCH_HOME": str(peers_home(bench)),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    used, began = ended_children_cpu_s(), time.perf_counter()
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def wait() -> dict[str, Any]:
        try:
            output, errors = child.communicate(timeout=_PROGRAM_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
        except BaseException:
            child.kill()
            child.wait()
            raise
        shown = errors.decode(errors="replace").strip()[-_SHOWN_CHARACTERS:]
        return {
            "wall_s": time.perf_counter() - began,
            "client_cpu_s": ended_children_cpu_s() - used,
            "counts": _last_document(output),
            "problem": f"ended with {child.returncode}: {shown}" if child.returncode else None,
        }

    return _measured(bench, child.pid, wait)


def peers_home(bench: Bench) -> Path:
    return bench.server.folder / "peers"


def _measured(bench: Bench, pid: int, work: Callable[[], dict[str, Any]]) -> Sample:
    """Add to what *work* reports what it cost the server and the source, and the memory of *pid* meanwhile."""
    server, source = bench.server, bench.source
    before = cpu_s(server.pid), cpu_s(source.pid), database.log_position(server.dsn)
    with PeakMemory(pid) as memory:
        done = work()
    return Sample(
        **done,
        postgres_cpu_s=cpu_s(server.pid) - before[0],
        source_cpu_s=cpu_s(source.pid) - before[1],
        peak_pss_mb=memory.peak_mb,
        log_mb=(database.log_position(server.dsn) - before[2]) / _MB,
    )


def _last_document(output: bytes) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith(b"{"):
            with suppress(ValueError):
                document: dict[str, Any] = json.loads(line)
                return document
    return {}
