"""The programs of the benchmark as processes of this one: the source, our warm worker, and other loaders."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from crossdock.bench.meter import PeakMemory, cpu_s, pss_mb
from crossdock.bench.sync import database_figures as measuring
from crossdock.bench.sync.collection import Sums
from crossdock.bench.sync.figures import Sample
from crossdock.core.errors import Terminal

_MB = 1024 * 1024
#: How much of what a failed program said is shown.
_SHOWN_CHARACTERS = 600


class ProgramFailed(Terminal):
    """A program of the benchmark ended, or said something else than it should."""


class SourceProcess:
    """The source, from its start to the end of the block."""

    def __init__(self, entity: str, rows: int, *, dataset: Path | None = None, ids: str = "random") -> None:
        more = ["--dataset", str(dataset)] if dataset else []
        self._child = _started(
            ["crossdock.bench.sync.source", "--entity", entity, "--rows", str(rows), "--ids", ids, *more]
        )
        self.pid = self._child.pid
        ports = _first_said(self._child)
        self.url = f"http://127.0.0.1:{ports['port']}"
        #: The same without a record.
        self.empty_url = f"http://127.0.0.1:{ports['empty_port']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._child)

    def reset(self) -> None:
        self._tell("reset")

    def mutate(self, fraction: float) -> int:
        """How many records changed."""
        return int(self._tell(f"mutate?fraction={fraction}")["changed"])

    def delay(self, latency_ms: float) -> None:
        """Each page comes so late from now on."""
        self._tell(f"latency?ms={latency_ms}")

    def sums(self) -> Sums:
        return Sums(**self._tell("sums"))

    def _tell(self, action: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/admin/{action}", timeout=60) as answer:  # noqa: S310  our own process
            document: dict[str, Any] = json.load(answer)
        return document


class Bench(msgspec.Struct, frozen=True):
    """What every loader of a run works with."""

    source: SourceProcess
    dsn: str
    postgres_pid: int
    #: Files of the run; gone at its end.
    folder: Path

    @property
    def peers_home(self) -> Path:
        return self.folder / "peers"


class WarmWorker:
    """Our flow in a child process that has imported everything and waits."""

    def __init__(
        self,
        bench: Bench,
        entity: str,
        schema: str,
        *,
        pages_in_flight: int | None = None,
        shard: str | None = None,
        sample: bool = False,
    ) -> None:
        self._bench = bench
        began, postgres_before = time.perf_counter(), cpu_s(bench.postgres_pid)
        more = ["--sample"] * sample
        more += ["--pages-in-flight", str(pages_in_flight)] if pages_in_flight else []
        more += ["--shard", shard] if shard else []
        places = {"source": bench.source.url, "dsn": bench.dsn, "schema": schema, "entity": entity}
        named = [word for name, value in places.items() for word in (f"--{name}", value)]
        landing = str(bench.folder / "landing" / schema)
        self._child = _started(["crossdock.bench.sync.worker", *named, "--landing", landing, *more])
        ready = _first_said(self._child)
        self.start = Sample(
            wall_s=time.perf_counter() - began,
            client_cpu_s=ready["cpu_s"],
            postgres_cpu_s=cpu_s(bench.postgres_pid) - postgres_before,
        )
        self.idle_pss_mb = pss_mb(self._child.pid)
        #: Of the last step: file, function, library, CPU seconds.
        self.samples: list[tuple[str, str, str, float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._child)

    def run(self, step: str) -> Sample:
        """What the three tasks of *step* took."""
        bench = self._bench
        before = cpu_s(bench.postgres_pid), cpu_s(bench.source.pid), measuring.log_position(bench.dsn)
        with PeakMemory(self._child.pid) as memory:
            assert self._child.stdin is not None  # noqa: S101  for the type checker
            self._child.stdin.write(f"{step}\n".encode())
            self._child.stdin.flush()
            done = _said(self._child)
        self.samples = [tuple(sample) for sample in done["samples"]]
        return Sample(
            wall_s=done["wall_s"],
            client_cpu_s=done["cpu_s"],
            postgres_cpu_s=cpu_s(bench.postgres_pid) - before[0],
            source_cpu_s=cpu_s(bench.source.pid) - before[1],
            peak_pss_mb=memory.peak_mb,
            log_mb=(measuring.log_position(bench.dsn) - before[2]) / _MB,
            tasks=done["tasks"],
            counts=done["counts"],
        )


def run_program(bench: Bench, command: Sequence[str], *, url: str, timeout_s: float = 900.0) -> Sample:
    """
    What *command*, a whole loader, took from its start to its end.

    Its database and source come by BENCH_DSN and BENCH_URL. A failure is the sample's problem, not an error.
    """
    environment: Mapping[str, str] = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "BENCH_DSN": bench.dsn,
        "BENCH_URL": url,
        # Where the peers keep their state between steps; ours to throw away between rounds.
        "BENCH_HOME": str(bench.peers_home),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    before = cpu_s(bench.postgres_pid), cpu_s(bench.source.pid), measuring.log_position(bench.dsn)
    used, began = _used_by_children_s(), time.perf_counter()
    child = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with PeakMemory(child.pid) as memory:
        try:
            output, errors = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall_s = time.perf_counter() - began
    return Sample(
        wall_s=wall_s,
        client_cpu_s=_used_by_children_s() - used,
        postgres_cpu_s=cpu_s(bench.postgres_pid) - before[0],
        source_cpu_s=cpu_s(bench.source.pid) - before[1],
        peak_pss_mb=memory.peak_mb,
        log_mb=(measuring.log_position(bench.dsn) - before[2]) / _MB,
        counts=_last_document(output),
        problem=_failure(child.returncode, errors) if child.returncode else None,
    )


def _used_by_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _last_document(output: bytes) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith(b"{"):
            with suppress(ValueError):
                document: dict[str, Any] = json.loads(line)
                return document
    return {}


def _failure(code: int, errors: bytes) -> str:
    return f"ended with {code}: {errors.decode(errors='replace').strip()[-_SHOWN_CHARACTERS:]}"


def _started(words: Sequence[str]) -> subprocess.Popen[bytes]:
    """
    `python -m` *words*, with lines to and from it.

    In a session of its own: Ctrl-C is for us, who end it, and would come up in it as a stack trace.
    """
    return subprocess.Popen(
        [sys.executable, "-P", "-m", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def _said(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The child's next line."""
    assert child.stdout is not None  # noqa: S101  for the type checker
    line = child.stdout.readline()
    if not line:
        raise ProgramFailed(f"A program of the benchmark ended with {child.wait()}; what it said stands above")
    document: dict[str, Any] = json.loads(line)
    return document


def _first_said(child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The child's first line; when there is none, or we are told to end meanwhile, there is no child either."""
    try:
        return _said(child)
    except BaseException:
        _end(child)
        raise


def _end(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    child.terminate()
    child.wait()
