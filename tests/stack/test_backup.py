"""Backups of two real servers without Airflow: written while they work, restored into empty homes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from crossdock.app.database import migrate
from crossdock.client.errors import StackError
from crossdock.db.database import Store
from crossdock.stack import lifecycle, ports, turns
from crossdock.stack.backup import create, manifest
from crossdock.stack.backup import restore as restoring
from crossdock.stack.backup.manifest import BackupInvalid
from crossdock.stack.home import RESTORING
from crossdock.stack.secrets import load_secrets
from tests.events.worlds import publish, stock
from tests.shop import free_port, query

PROJECT = Path(__file__).resolve().parents[2]
PAGES = {"run-1/0/0-1.zst": b"one", "run-1/0/1-1.zst": b"two", "run-2/0/0-1.zst": b"three"}
RUNS = """
INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, attempt, state, moves_watermark, fencing_token, started_at)
VALUES ('run-1', 'commercetools', 'inventory', 'all', 'full', '{}', 1, 'done', true, 1, now()),
       ('run-2', 'commercetools', 'orders', 'all', 'full', '{}', 1, 'running', true, 1, now())
RETURNING run_id
"""


def quiet(*_: object, **__: object) -> None:
    """Show nothing."""


def dsn() -> str:
    return lifecycle.Stack(ports.saved()).hub_dsn


def start() -> None:
    """Start both servers of the home, as `up` does before anything else."""
    lifecycle._start_databases(ports.assign(), load_secrets())


def add_runs(store: Store, *, home: Path) -> None:
    """Two runs with landed pages, as rows and files."""
    query(store, RUNS)
    for name, content in PAGES.items():
        run_id, range_no, page = name.split("/")
        values = [run_id, int(range_no), int(page.partition("-")[0]), name]
        query(
            store,
            "INSERT INTO sync_range (run_id, range_no, axis) VALUES (%s, %s, 'time') ON CONFLICT DO NOTHING RETURNING 1",
            *values[:2],
        )
        query(
            store,
            "INSERT INTO landed_page (run_id, range_no, page_no, records, lines, bytes, path) VALUES (%s, %s, %s, 1, 1, 9, %s) RETURNING 1",
            *values,
        )
        (home / "landing" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "landing" / name).write_bytes(content)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for homes on ports of their own, whose servers are removed at the end."""
    folder = tmp_path_factory.mktemp("homes")
    before = dict(os.environ)
    os.environ |= {variable: str(free_port()) for variable in ports.VARIABLES.values()}
    yield folder
    for home in [path for path in folder.iterdir() if path.is_dir()]:
        os.environ["HUB_HOME"] = str(home)
        for server in restoring._servers().values():
            server.remove()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def backups(homes: Path) -> Iterator[Path]:
    """A folder with the backup of a hub that has gone on since: one event, and a payment at its gateway, came later."""
    os.environ["HUB_HOME"] = str(homes / "hub")
    start()
    migrate(dsn())
    with psycopg.connect(lifecycle.servers(ports.saved(), load_secrets())["postgres-metadata"].dsn()) as metadata:
        metadata.execute("CREATE TABLE airflow_has AS SELECT 'a run' AS what")
    with Store(dsn()) as store:
        add_runs(store, home=homes / "hub")
        for version in (1, 2):
            publish(store, stock("CHAIR", version, version))
        # A row of an unfinished run whose file is gone, as a lifecycle rule of a bucket leaves it.
        (homes / "hub/landing/run-2/0/0-1.zst").unlink()
        create.back_up(homes.parent / "backups", progress=quiet)
        publish(store, stock("CHAIR", 3, 3))
    lifecycle.down()
    yield homes.parent / "backups"
    shutil.rmtree(homes.parent / "backups")


@pytest.fixture
def new_home(homes: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    home: Path = homes / re.sub(r"[^a-z]", "", request.node.name)[-60:]
    monkeypatch.setenv("HUB_HOME", str(home))
    return home


def event_ids(store: Store) -> list[str]:
    return [
        f"{epoch}-{position}" for epoch, position in query(store, "SELECT epoch, position FROM event ORDER BY 1, 2")
    ]


def test_a_restored_hub_has_what_was_committed_and_reuses_no_event_id(
    backups: Path, homes: Path, new_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both servers, the landing zone and the secrets; restored twice from one backup, each goes on with IDs of its own."""
    with monkeypatch.context() as other:
        other.setenv("HUB_HOME", str(homes / "hub"))
        secrets = load_secrets()

    restored = restoring.restore(backups, progress=quiet)

    assert load_secrets() == secrets
    assert lifecycle.status().state == "stopped"
    start()
    with Store(dsn()) as store:
        assert event_ids(store) == ["1-1", "1-2"], "the third came after the backup"
        publish(store, stock("CHAIR", 4, 4))
        # 1-3 is known to others as another event; of epoch 2 there may be some of an earlier restore of this backup. The epoch
        # is compared, not the ID: a server that recovers leaves out up to 32 numbers.
        epoch = event_ids(store)[-1].partition("-")[0]
        assert epoch not in ("1", "2")
        assert query(store, "SELECT act FROM audit_entry ORDER BY entry_id DESC LIMIT 1") == [("hub.restore",)]
        states = query(store, "SELECT run_id, state, landing_cleared_at IS NULL FROM sync_run ORDER BY 1")
    with psycopg.connect(lifecycle.servers(ports.saved(), load_secrets())["postgres-metadata"].dsn()) as metadata:
        assert metadata.execute("SELECT what FROM airflow_has").fetchall() == [("a run",)]
    lifecycle.down()

    assert [(run.run_id, run.pages, run.was_running) for run in restored.missing] == [("run-2", 1, True)]
    assert states == [("run-1", "done", True), ("run-2", "failed", False)], "the next run reads the source again"
    landed = {path.relative_to(new_home / "landing").as_posix() for path in (new_home / "landing").rglob("*.zst")}
    assert landed == {"run-1/0/0-1.zst", "run-1/0/1-1.zst"}


def test_a_backup_is_for_its_owner_only_and_names_what_it_has(backups: Path) -> None:
    (folder,) = manifest.whole_ones(backups)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}

    assert modes == {0o600, 0o700}
    assert stat.S_IMODE(backups.stat().st_mode) == 0o700
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files - {"manifest.json"} == set(manifest.read(folder).files)


def copy_of(backups: Path, new: Path) -> Path:
    (folder,) = manifest.whole_ones(backups)
    shutil.copytree(folder, new / folder.name)
    return new / folder.name


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "missing"])
def test_a_damaged_backup_is_refused_before_anything_is_written(
    damage: str, backups: Path, new_home: Path, tmp_path: Path
) -> None:
    archive = copy_of(backups, tmp_path) / "postgres-hub" / "base.tar.gz"
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] if damage == "shorter" else content[:-1] + bytes([content[-1] ^ 1]))
    if damage == "missing":
        archive.unlink()

    with pytest.raises(BackupInvalid, match=r"postgres-hub/base\.tar\.gz"):
        restoring.restore(tmp_path, progress=quiet)

    assert not new_home.exists()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("schema", "9999", "newer version of the hub"),
        ("airflow", "99.0.0", "Airflow 99"),
        ("postgres", 17, "PostgreSQL 17"),
        ("format", 2, "the format 2"),
    ],
)
def test_a_backup_of_another_version_is_refused(
    field: str, value: object, says: str, backups: Path, tmp_path: Path
) -> None:
    """No database goes back to an older schema, and a server does not read the files of another."""
    document = copy_of(backups, tmp_path) / "manifest.json"
    document.write_text(json.dumps({**json.loads(document.read_text()), field: value}))

    with pytest.raises(BackupInvalid, match=says):
        restoring.verify(tmp_path, quiet)


@pytest.mark.deep
def test_a_home_with_data_is_refused_and_moved_aside_by_force(backups: Path, new_home: Path) -> None:
    """Nobody loses a hub by restoring into the wrong folder; what was there can be started from where it is now."""
    restoring.restore(backups, progress=quiet)
    (new_home / "sandbox.jsonl").write_text("what the shop has become since")

    with pytest.raises(StackError, match="is not empty"):
        restoring.restore(backups, progress=quiet)
    restored = restoring.restore(backups, force=True, progress=quiet)

    assert restored.moved_to is not None
    assert (new_home / "sandbox.jsonl").read_text() == "what the shop has become since", (
        "outside systems are not restored"
    )
    assert (restored.moved_to / "postgres-hub" / "data" / "PG_VERSION").exists()
    assert (new_home / "postgres-hub" / "data" / "PG_VERSION").exists()


@pytest.mark.deep
@pytest.mark.usefixtures("new_home")
def test_a_running_hub_is_not_restored(backups: Path) -> None:
    restoring.restore(backups, progress=quiet)
    start()
    try:
        with pytest.raises(StackError, match="Stop it first"):
            restoring.restore(backups, force=True, progress=quiet)
    finally:
        lifecycle.down()


def test_a_second_restore_touches_nothing_while_the_first_is_at_work(backups: Path, new_home: Path) -> None:
    """It took what the first had written for the rest of a killed one, and deleted it."""
    new_home.mkdir()
    (new_home / RESTORING).write_text("{}")
    (new_home / "secrets.json").write_text("of the first")
    waits = threading.Event()
    with ThreadPoolExecutor() as pool:
        with turns.in_turn(print):
            second = pool.submit(
                restoring.restore, backups, progress=lambda says, **_: says.startswith("Another") and waits.set()
            )
            assert waits.wait(200)
            assert (new_home / "secrets.json").read_text() == "of the first"
            (new_home / RESTORING).unlink()

        with pytest.raises(StackError, match="Another command has filled"):
            second.result()
    assert (new_home / "secrets.json").read_text() == "of the first"


def hub(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """`./hub WORDS`; *more* are environment variables, and `limit_bytes` for the size of each file."""
    limit = more.pop("limit_bytes", None)

    def limited() -> None:
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {**os.environ, **{name: str(value) for name, value in more.items()}}
    command = [sys.executable, "-m", "crossdock.cli", *words]
    return subprocess.run(
        command,
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        preexec_fn=limited,
    )


@pytest.mark.deep
@pytest.mark.crash
@pytest.mark.parametrize("point", ["restore.begun", "restore.unpacked", "restore.opened"])
def test_a_killed_restore_starts_no_hub_and_is_begun_anew(point: str, backups: Path, new_home: Path) -> None:
    killed = hub("restore", str(backups), HUB_FAILPOINT=point)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(StackError, match="not restored to its end"):
        lifecycle.up(progress=quiet)

    if any(server.is_running() for server in restoring._servers().values()):
        lifecycle.down()
    restoring.restore(backups, progress=quiet)

    assert not (new_home / RESTORING).exists()
    start()
    with Store(dsn()) as store:
        assert event_ids(store) == ["1-1", "1-2"]
    lifecycle.down()


@pytest.fixture
def at_work(backups: Path, homes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The first hub, running; its backups go to a folder of the test's own."""
    assert backups.exists()
    monkeypatch.setenv("HUB_HOME", str(homes / "hub"))
    start()
    yield homes / "hub"
    lifecycle.down()


@pytest.mark.deep
@pytest.mark.crash
@pytest.mark.usefixtures("at_work")
def test_a_backup_that_does_not_end_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    """Killed, or without room: a restore finds the one before, and the next backup removes what is left."""
    folder = tmp_path / "kept"
    first = create.back_up(folder, progress=quiet).folder
    for point in ("backup.copied:1", "backup.copied:2", "backup.written"):
        assert hub("backup", str(folder), HUB_FAILPOINT=point).returncode == -signal.SIGKILL
        assert manifest.whole_ones(folder) == [first]
    full = hub("backup", str(folder), limit_bytes=200_000)
    assert full.returncode == 1
    assert "pg_basebackup" in full.stderr
    assert manifest.whole_ones(folder) == [first]
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == [first.name]

    again = hub("backup", str(folder), "--keep", "1", "--json")

    assert again.returncode == 0, again.stderr
    document = json.loads(again.stdout)
    assert document["removed"] == [first.name]
    assert [str(path) for path in manifest.whole_ones(folder)] == [document["folder"]]
    assert restoring.verify(folder, quiet)[0] == Path(document["folder"])


@pytest.mark.usefixtures("at_work")
def test_two_backups_to_one_folder_take_turns(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StackError, match="Another"):
            create.back_up(tmp_path, progress=quiet)


def test_without_its_servers_nothing_is_backed_up(tmp_path: Path) -> None:
    """The home of the test has none."""
    with pytest.raises(StackError, match=r"postgres-metadata and postgres-hub must run.*\./hub up"):
        create.back_up(tmp_path / "kept", progress=quiet)

    assert not (tmp_path / "kept").exists()
