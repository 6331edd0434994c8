"""./hub demo: do the hub's main work with a small shop, and check each step against the database and the source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.demo.chapters import CHAPTERS, run_chapters
from crossdock.cli.demo.run import DemoRun, demo_document
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.core.errors import BadRequest
from crossdock.core.settings import UNSCHEDULED
from crossdock.stack import lifecycle
from crossdock.stack.secrets import airflow_login


def demo(
    chapters: Annotated[
        list[str] | None, typer.Argument(help=f"Only these: {', '.join(CHAPTERS)}.", show_default="all")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Stop afterwards what the demo started.")] = False,
    as_json: Json = False,
) -> None:
    """
    Start everything, sync a shop, fix a bad record, break the source and recover. Each step is checked.

    Example: ./hub demo orders --once
    """
    chosen = _known(chapters or [])
    was_running = lifecycle.status().state == "running"
    stays = was_running or not once
    try:
        if was_running:
            run = _run_demo(chosen)
        else:
            with _schedules_held_back(stays=stays):
                run = _run_demo(chosen)
    finally:
        if not stays:
            with console.progress("Stopping") as bar:
                lifecycle.down(progress=bar.update)
    if as_json:
        console.show_json(demo_document(run))
    _show_result(run)
    if stays and not as_json:
        _show_next_steps(run)
    if not run.passed:
        raise typer.Exit(Exit.FAILED)


def _known(chapters: Sequence[str]) -> Sequence[str]:
    """
    Check the names of chapters.

    Raises:
        BadRequest: one is unknown; the message lists the known ones.

    """
    if unknown := [name for name in chapters if name not in CHAPTERS]:
        raise BadRequest(f"Unknown chapter {unknown[0]!r}. Chapters: {', '.join(CHAPTERS)}")
    return chapters


def _run_demo(chapters: Sequence[str]) -> DemoRun:
    with console.progress("Starting") as bar:
        running = lifecycle.up(progress=bar.update)
    run = DemoRun(running)
    run_chapters(run, chapters)
    return run


@contextmanager
def _schedules_held_back(*, stays: bool) -> Iterator[None]:
    """
    Keep the syncs of a stack that starts now from running on schedule. A scheduled run could load the changes of a step
    before the step's own run does. A stack that stays has its schedules afterwards, also after Ctrl-C.

    In a stack that ran before, schedules are not changed, and each step accepts that another run loaded its changes.
    """
    before = os.environ.get("HUB_STREAMS")
    os.environ["HUB_STREAMS"] = UNSCHEDULED
    console.say("Until the demo ends, no sync runs on schedule: the demo starts each itself.")
    try:
        yield
    finally:
        os.environ.pop("HUB_STREAMS")
        if before is not None:
            os.environ["HUB_STREAMS"] = before
        if stays:
            lifecycle.restart_dag_processor()
            console.say("The syncs have their schedules again.")


def _show_result(run: DemoRun) -> None:
    if run.passed:
        console.success(f"All {len(run.steps)} steps passed.")
    else:
        console.error(f"The demo stopped at step {len(run.steps)}. To check the stack: ./hub doctor")


def _show_next_steps(run: DemoRun) -> None:
    user, _ = airflow_login()
    console.say(f"Airflow:      {run.stack.airflow_url}")
    console.say(f"Crossdock:    {run.stack.pages_url}")
    console.say(f"Log in:       user {user}; the password: ./hub status --password")
    console.say(
        "Chapters:     " + "\n              ".join(f"./hub demo {name}: {text}" for name, text in CHAPTERS.items())
    )
    console.say("Next:         ./hub sandbox move 10, then ./hub sync inventory")
    console.say("To stop:      ./hub down")
