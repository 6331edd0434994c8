"""./hub demo: the main job in small, told as a story that must come true."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from crossdock.app.streams import SYNCS
from crossdock.cli import console
from crossdock.cli.demo.steps import Story, story_document, tell
from crossdock.cli.exit_codes import Exit
from crossdock.stack import lifecycle


def demo(
    once: Annotated[bool, typer.Option("--once", help="End afterwards what the demo started.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Start everything, bring stock in, test the registry, mend a bad row, break the source, recover, change nothing."""
    was_running = lifecycle.status().state == "running"
    if once and not was_running:
        # It lives for the story only: a run that starts by itself would take a step's changes.
        os.environ.update({f"HUB_SYNC_{entity.upper()}_SCHEDULE": "" for entity in SYNCS})
    try:
        with console.progress("Starting") as bar:
            running = lifecycle.up(progress=bar.tell)
        story = Story(running)
        tell(story)
    finally:
        if once and not was_running:
            with console.progress("Stopping") as bar:
                lifecycle.down(progress=bar.tell)
    if as_json:
        console.show_json(story_document(story))
    elif story.came_true:
        console.praise("The story came true.")
    if not story.came_true:
        console.complain("The story did not come true. What is wrong: ./hub doctor")
        raise typer.Exit(Exit.FAILED)
    if not as_json and not (once and not was_running):
        login = "./hub status --password"
        console.say(
            f"Look around: {running.airflow_url} (login: {login}). Then: ./hub sandbox move 10, ./hub sync inventory"
        )
