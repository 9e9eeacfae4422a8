"""A browser and a web server; a test fails if the browser reports an error."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.core.handlers.wsgi import WSGIHandler
from playwright.sync_api import ConsoleMessage, Page, Request

from stores.roles import make_groups
from stores.web.signin import sign_in_link
from tests.support.web_server import serving

# A little longer than in templates/till/_create.html.
LOOK_ALIKES_DELAY_MS = 700


@pytest.fixture(scope="session")
def base_url() -> None:
    """Replaces a fixture of the plugin that is written in a way that pytest 10 refuses."""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Use the system's Chromium. Without it the test is skipped, or fails where it is required."""
    path = shutil.which("chromium")
    if path is None:
        give_up = pytest.fail if os.environ.get("SYNCLINE_REQUIRE_BROWSER") else pytest.skip
        give_up("There is no chromium: apt-get install chromium")
    args = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    return browser_type_launch_args | {"executable_path": path, "args": args}


@pytest.fixture
def site(hq) -> Iterator[str]:
    """The URL of the portal, served by threads with database connections of their own."""
    with serving(WSGIHandler()) as url:
        yield url


@pytest.fixture
def link_for(hq, settings, monkeypatch) -> Callable[..., str]:
    """Creates a user, in the group of that name if there is one, and returns a sign-in link."""
    # Only an embedded installation has sign-in links.
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", str(settings.EMBEDDED.sockets))

    def create_user_with_link(name: str, **flags: bool) -> str:
        user = User.objects.create_user(name, **flags)
        make_groups()
        user.groups.add(*Group.objects.filter(name=name))
        return sign_in_link(name)

    return create_user_with_link


@pytest.fixture
def watched(page: Page, site: str) -> Iterator[Page]:
    """A page that must not log errors or warnings, nor send requests to other hosts."""
    with watching(page, site):
        yield page


@contextmanager
def watching(page: Page, site: str) -> Iterator[None]:
    """Let a page of a portal log no errors or warnings, nor send requests to other hosts."""
    errors: list[str] = []

    def check_message(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    def check_request(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme != "data" and url.netloc != urlsplit(site).netloc:
            errors.append(f"request to {request.url}")

    page.on("pageerror", lambda error: errors.append(f"script: {error}"))
    page.on("console", check_message)
    page.on("request", check_request)
    yield
    assert errors == []


def wait_for_look_alikes(page: Page) -> None:
    """Wait until a till's page has its answer about what was typed last.

    A request that is cut off because the page is left is an error to the browser.
    """
    page.wait_for_timeout(LOOK_ALIKES_DELAY_MS)
    page.wait_for_load_state("networkidle")
