"""A real browser in front of a real web server; what it may not do fails the test."""

import os
import shutil
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group, User
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from playwright.sync_api import Page

from stores.roles import make_groups
from stores.web.signin import sign_in_link


@pytest.fixture(scope="session")
def base_url() -> None:
    """None, as the fixture of the plugin, which is written in a way that pytest 10 refuses."""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's own Chromium. Without one the test is skipped, or fails where it must run."""
    path = shutil.which("chromium")
    if path is None:
        give_up = pytest.fail if os.environ.get("SYNCLINE_REQUIRE_BROWSER") else pytest.skip
        give_up("There is no chromium: apt-get install chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    return browser_type_launch_args | {"executable_path": path, "args": quiet}


class Silent(WSGIRequestHandler):
    """Tells nothing about requests."""

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site(hq) -> Iterator[str]:
    """The address of the portal, served in threads with connections of their own."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), Silent)
    server.set_app(WSGIHandler())
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def link_for(hq, settings) -> Iterator[Callable[..., str]]:
    """Makes a user with a sign-in link, in the group of that name if there is one.

    Wherever the test's own database is.
    """
    hq_settings = settings.DATABASES["default"]
    kept, hq_settings["HOST"] = hq_settings["HOST"], str(settings.EMBEDDED.sockets)

    def make(name: str, **rights: bool) -> str:
        user = User.objects.create_user(name, **rights)
        make_groups()
        user.groups.add(*Group.objects.filter(name=name))
        return sign_in_link(name)

    yield make
    hq_settings["HOST"] = kept


@pytest.fixture
def watched(page: Page, site: str) -> Iterator[Page]:
    """A page that may not complain, break its policy or talk to anybody else."""
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None,
    )
    page.on("request", lambda asked: complain_of_stranger(asked.url, site, complaints))
    yield page
    assert complaints == []


def complain_of_stranger(url: str, site: str, complaints: list[str]) -> None:
    found = urlsplit(url)
    if found.scheme != "data" and found.netloc != urlsplit(site).netloc:
        complaints.append(f"asked {url}")
