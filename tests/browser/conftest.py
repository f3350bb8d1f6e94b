"""One Chromium and one pod for all browser tests.

Playwright's synchronous API leaves a running event loop in its thread, which the rest of the tests could not bear: so
these tests run, as a whole, in a thread of their own.
"""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.people import PASSWORD, People, Site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="package")
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, thread_name_prefix="browser") as made:
        yield made


@pytest.fixture(scope="package")
def browser(thread: ThreadPoolExecutor) -> Iterator[Browser]:
    if CHROMIUM is None:
        assert os.environ.get("CI") != "true", "No Chromium: in CI nothing may be missing."
        pytest.skip("There is no Chromium here: apt-get install chromium.")

    def start() -> tuple[Playwright, Browser]:
        playwright = sync_playwright().start()
        return playwright, playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)

    playwright, made = thread.submit(start).result(60)
    yield made
    thread.submit(made.close).result(20)
    thread.submit(playwright.stop).result(20)


@pytest.fixture(scope="package")
def site(postgres: str, browser: Browser) -> Iterator[Site]:
    made = Site(postgres)
    made.start()
    # The first account of a server is its administrator: nobody of a test should be that by chance.
    first = {"email": "first@example.com", "name": "첫 사람", "password": PASSWORD}
    assert requests.post(made.url + "/auth/register", json=first, timeout=10).status_code == 201
    yield made
    made.stop()


@pytest.fixture
def people(site: Site, browser: Browser, thread: ThreadPoolExecutor) -> Iterator[People]:
    """Makes people; at the end no page may have broken the CSP or thrown."""
    made = People(site, browser)
    yield made
    assert thread.submit(made.close).result(20) == []


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if "thread" not in pyfuncitem.funcargs:
        return None
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.funcargs["thread"].submit(pyfuncitem.obj, **arguments).result()
    return True
