"""A curve as SVG, drawn here: two axes, a line for each log, numbers that can be read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 860, 460, 80, 60, 50, 190
_COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#8d6a9f")


class Line(NamedTuple):
    name: str
    #: (x, y), both above 0.
    points: Sequence[tuple[float, float]]


def plot(title: str, x_name: str, y_name: str, lines: Sequence[Line]) -> str:
    """Both axes logarithmic: rates and waits span decades."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [max(y, 0.1) for line in lines for _, y in line.points]
    x_of = _scale(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT)
    y_of = _scale(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x_name)}</text>',
        f'<text transform="translate(18,{_HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>',
    ]
    parts += [_tick(x_of(x), _HEIGHT - _BOTTOM, f"{x:,.0f}", across=False) for x in sorted(set(xs))]
    parts += [_tick(_LEFT, y_of(y), f"{y:g}", across=True) for y in _decades(min(ys), max(ys))]
    for number, line in enumerate(lines):
        parts += _line(line, _COLOURS[number % len(_COLOURS)], number, x_of, y_of)
    return "\n".join([*parts, "</svg>", ""])


def _line(line: Line, colour: str, number: int, x_of: _Scale, y_of: _Scale) -> list[str]:
    places = [(x_of(x), y_of(max(y, 0.1))) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    y = _TOP + 20 * number
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places),
        f'<rect x="{_WIDTH - _RIGHT + 14}" y="{y}" width="12" height="12" fill="{colour}"/>',
        f'<text x="{_WIDTH - _RIGHT + 32}" y="{y + 10}">{escape(line.name)}</text>',
    ]


class _Scale:
    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._span = math.log10(low), max(math.log10(high) - math.log10(low), 1e-9)
        self._start, self._length = start, end - start

    def __call__(self, value: float) -> float:
        return self._start + (math.log10(value) - self._low) / self._span * self._length


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high, start, end)


def _decades(low: float, high: float) -> list[float]:
    return [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
        if low <= factor * 10.0**power <= high
    ]


def _tick(x: float, y: float, text: str, *, across: bool) -> str:
    if across:
        grid = f'<line x1="{x}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#ddd"/>'
        return grid + f'<text x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    return (
        f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{y}" stroke="#eee"/>'
        f'<text transform="translate({x:.1f},{y + 14}) rotate(20)" text-anchor="start" font-size="10">{text}</text>'
    )
