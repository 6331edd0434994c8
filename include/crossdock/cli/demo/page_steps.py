"""The last step of the demo: every page of the hub opens, whatever the steps before have left behind."""

from __future__ import annotations

import re
from http import HTTPStatus

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.client.airflow import AirflowApi

_FIRST = "/hub/pages/overview"
_LINK = re.compile(r'href="(/hub/pages/(?!assets/)[^"#]+)"')
#: Of one kind of page, such as those of runs, a few are enough.
_MOST_OF_A_KIND = 3


class PageSteps:
    """Follows the links of the pages, as a person would."""

    def __init__(self, api: AirflowApi) -> None:
        self._api = api

    def every_page_opens(self, bar: Bar) -> str:
        """
        Open the overview, and what it and the others lead to.

        Raises:
            DemoFailed: a page answered with an error.

        """
        waiting, opened, of_kind = [_FIRST], set[str](), dict[str, int]()
        while waiting:
            path = waiting.pop(0)
            kind = re.sub(r"[^/]*[0-9][^/]*", "…", path.partition("?")[0])
            if path in opened or of_kind.get(kind, 0) >= _MOST_OF_A_KIND:
                continue
            of_kind[kind] = of_kind.get(kind, 0) + 1
            bar.update(path)
            answer = self._api.signed("GET", path)
            expect(answer.status_code == HTTPStatus.OK, f"{path} was answered with HTTP {answer.status_code}")
            opened.add(path)
            waiting += [found.replace("&amp;", "&") for found in _LINK.findall(answer.text)]
        return f"{len(opened)} pages of {len(of_kind)} kinds, and none shows an error"
