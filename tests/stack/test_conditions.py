"""What is wrong with a process: decided by looks, without a clock and without a process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from crossdock.stack.conditions import (
    OVERLOAD,
    SILENT_LOOKS,
    STARTING_LOOKS,
    Condition,
    Look,
    Sign,
    State,
    Watched,
    after_look,
    condition_of,
    started_anew,
    wait_s,
    what_is_wrong,
)

WELL = Watched(sign="1", has_started=True)
NO_ANSWER = Look(alive=True)
GONE = Look(alive=False)


def after(watched: Watched, looks: Iterable[Look]) -> Watched:
    for look in looks:
        watched = after_look(watched, look)
    return watched


def answer(number: int, *, is_fresh: bool = True) -> Look:
    return Look(alive=True, sign=Sign(str(number), is_fresh))


@pytest.mark.parametrize(
    ("looks", "state"),
    [
        ([answer(2)], "running"),
        ([NO_ANSWER] * (SILENT_LOOKS - 1), "running"),
        ([NO_ANSWER] * SILENT_LOOKS, "silent"),
        ([answer(1)] * SILENT_LOOKS, "silent"),
        ([NO_ANSWER] * SILENT_LOOKS + [answer(2)], "running"),
        ([NO_ANSWER] * (SILENT_LOOKS - 1) + [answer(2)] + [NO_ANSWER] * (SILENT_LOOKS - 1), "running"),
        ([GONE], "ended"),
        ([NO_ANSWER] * SILENT_LOOKS + [GONE], "ended"),
    ],
)
def test_a_process_without_a_new_sign_of_life_for_thirty_seconds_counts_as_ended(
    looks: list[Look], state: State
) -> None:
    """A scheduler that lives and schedules nothing: its heartbeat is there, and is always the same."""
    assert condition_of("scheduler", after(WELL, looks)).state == state


def test_a_suspended_machine_is_no_silent_process() -> None:
    """Its clocks have jumped by a night. The looks before it and after it are two."""
    before = after(WELL, [NO_ANSWER] * (SILENT_LOOKS - 1))

    resumed = after_look(before, NO_ANSWER, slept=True)

    assert condition_of("scheduler", resumed).state == "running"
    assert condition_of("scheduler", after(resumed, [NO_ANSWER] * SILENT_LOOKS)).state == "silent"


def test_what_waits_for_a_processor_gets_four_times_as_long_and_no_longer() -> None:
    """Else an overloaded machine ends well processes, and starts them, which is more work still."""
    starved = replace(NO_ANSWER, is_overloaded=True)

    waiting = after(WELL, [starved] * (SILENT_LOOKS * OVERLOAD - 1))

    assert condition_of("scheduler", waiting).state == "running"
    silent = condition_of("scheduler", after_look(waiting, starved))
    assert what_is_wrong(silent) == "has given no sign of life for 120 s"
    assert after_look(waiting, answer(2)).counted == 0


def test_what_needs_a_database_that_is_away_is_not_silent_and_gets_all_its_time_afterwards() -> None:
    """Nobody can write a heartbeat then. A restart would help nothing, and would end the tasks at work."""
    waiting = replace(NO_ANSWER, waits_for="postgres-metadata")

    watched = after(WELL, [waiting] * 1000)

    assert condition_of("scheduler", watched).state == "running"
    assert what_is_wrong(condition_of("scheduler", watched)) == "waits for postgres-metadata"
    assert condition_of("scheduler", after(watched, [NO_ANSWER] * (SILENT_LOOKS - 1))).state == "running"
    assert condition_of("scheduler", after(watched, [NO_ANSWER] * SILENT_LOOKS)).state == "silent"


def test_a_new_process_does_not_take_over_the_heartbeat_of_the_one_before_it() -> None:
    """The old row is still the newest in the table while the new scheduler loads: it would be killed at each start."""
    begun = started_anew(after(WELL, [answer(7)]))

    starting = after(begun, [answer(7, is_fresh=False)] * (STARTING_LOOKS - 1))
    assert condition_of("scheduler", starting).state == "running"
    assert not starting.is_well
    assert after_look(starting, answer(8)).is_well
    assert after_look(starting, answer(7)).is_silent, "it never came up"


def test_an_old_heartbeat_at_the_first_look_is_no_sign_of_life() -> None:
    """`up` looks once at a stack, and must not take a frozen scheduler for a well one."""
    frozen = after_look(Watched(has_started=True), answer(7, is_fresh=False))

    assert not frozen.is_well
    assert after_look(Watched(has_started=True), answer(7)).is_well
    assert after(frozen, [answer(7, is_fresh=False)] * (SILENT_LOOKS - 1)).is_silent


def test_the_first_restart_is_at_once_and_the_wait_grows_to_a_minute_and_no_further() -> None:
    """There is no last try: the disk that is full now has room tomorrow."""
    now, restarts, waits = 0.0, [], []
    for _ in range(8):
        waits.append(wait_s(restarts, now))
        now += waits[-1]
        restarts.append(now)

    assert waits == [0, 5, 10, 20, 40, 60, 60, 60]
    assert wait_s(restarts, now + 60) == 0
    assert wait_s([0.0], 600.0) == 0, "what has stayed up is started at once"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition("triggerer", "running"), None),
        (Condition("triggerer", "silent", SILENT_LOOKS), "has given no sign of life for 30 s"),
        (Condition("triggerer", "ended"), "ended"),
        (Condition("triggerer", "ended", waits_for="postgres-metadata"), "ended, and waits for postgres-metadata"),
        (Condition("triggerer", "stopped"), "was not started"),
    ],
)
def test_what_is_wrong_is_said_in_words(condition: Condition, words: str | None) -> None:
    """In the log of the supervisor, in `status` and in `doctor` alike."""
    assert what_is_wrong(condition) == words
