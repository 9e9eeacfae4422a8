"""Signing in with a password, and with a link that works once.

From conftest.py: `command` calls a management command and returns its output.
"""

import json
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client

from stores.web import signin
from stores.web.signin import LinkRefused, sign_in_link

PASSWORD = "a long one for ann"  # noqa: S105


@pytest.fixture
def ann(hq, settings, monkeypatch) -> User:
    """A user of an embedded installation, the only kind that has sign-in links."""
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", str(settings.EMBEDDED.sockets))
    return User.objects.create_user("ann", password=PASSWORD)


def is_signed_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_a_link_signs_a_user_in(ann, client):
    response = client.get(sign_in_link("ann"))

    assert response["Location"] == "/"
    assert is_signed_in(client)


def test_a_link_works_once(ann):
    link = sign_in_link("ann")
    Client().get(link)
    client = Client()

    response = client.get(link)

    assert response.status_code == 410
    assert "sign_in_link" in response.content.decode()
    assert not is_signed_in(client)


def test_a_head_request_does_not_use_a_link(ann, client):
    link = sign_in_link("ann")

    assert client.head(link).status_code == 405
    client.get(link)

    assert is_signed_in(client)


def test_a_link_expires(ann, client, monkeypatch):
    link = sign_in_link("ann")
    monkeypatch.setattr(signin, "VALID_S", -1)

    assert client.get(link).status_code == 410


def test_a_link_is_invalid_after_a_change_of_password(ann, client):
    link = sign_in_link("ann")
    ann.set_password("another long one")
    ann.save()

    assert client.get(link).status_code == 410


def test_an_inactive_user_cannot_use_or_get_a_link(ann, client):
    link = sign_in_link("ann")
    User.objects.update(is_active=False)

    assert client.get(link).status_code == 410
    with pytest.raises(User.DoesNotExist):
        sign_in_link("ann")


@pytest.mark.parametrize("token", ["x", "x:y:z", "W10:1:2"])
def test_a_link_with_an_invalid_token_is_refused(ann, client, token):
    assert client.get(f"/sign-in/{token}/").status_code == 410


def test_only_the_first_of_two_requests_redeems_a_link(ann):
    token = sign_in_link("ann").split("/")[2]
    before = User.objects.get(username="ann")

    first = signin.redeem(token)
    second = signin.redeem(token)

    assert (first, second) == (before, None)
    assert User.objects.get(username="ann").last_login != before.last_login


def test_the_command_prints_a_link(ann, client, command):
    url = command("sign_in_link", "ann").strip()

    assert url.startswith("http://127.0.0.1:8000/sign-in/")
    client.get(url.removeprefix("http://127.0.0.1:8000"))
    assert is_signed_in(client)


def test_the_command_uses_the_address_of_a_running_demo(ann, command, settings):
    settings.EMBEDDED.run.mkdir(parents=True, exist_ok=True)
    settings.EMBEDDED.address.write_text("http://127.0.0.1:8765")
    try:
        document = json.loads(command("sign_in_link", "ann", "--json"))
    finally:
        settings.EMBEDDED.address.unlink()

    assert document["user"] == "ann"
    assert document["url"].startswith("http://127.0.0.1:8765/sign-in/")


def test_the_command_refuses_an_unknown_user(ann):
    with pytest.raises(CommandError, match="There is no user 'bo'") as refused:
        call_command("sign_in_link", "bo")

    assert refused.value.returncode == 2


def assert_links_are_refused(client: Client, link: str) -> None:
    """An existing link does not work, and there are no new ones."""
    assert client.get(link).status_code == 410
    with pytest.raises(LinkRefused):
        sign_in_link("ann")
    with pytest.raises(CommandError) as refusal:
        call_command("sign_in_link", "ann")
    assert refusal.value.returncode == 1


def test_there_are_no_links_in_production(ann, client, settings):
    link = sign_in_link("ann")
    settings.PRODUCTION = True

    assert_links_are_refused(client, link)


def test_there_are_no_links_with_a_database_on_another_host(ann, client, settings):
    link = sign_in_link("ann")
    settings.DATABASES["default"]["HOST"] = "db.example.com"

    assert_links_are_refused(client, link)


def test_signing_in_leads_to_the_requested_page(ann, client):
    form = {"username": "ann", "password": PASSWORD, "next": "/runs/"}

    response = client.post("/sign-in/?next=/runs/", form)

    assert response["Location"] == "/runs/"


@pytest.mark.parametrize("username", ["ann", "bo"])
def test_wrong_passwords_and_unknown_users_get_the_same_message(ann, client, username):
    response = client.post("/sign-in/", {"username": username, "password": "wrong"})

    assert "Please enter a correct username and password" in response.content.decode()
    assert not is_signed_in(client)


def test_signing_in_does_not_redirect_to_another_host(ann, client):
    form = {"username": "ann", "password": PASSWORD, "next": "https://evil.example/"}

    response = client.post("/sign-in/", form)

    assert response["Location"] == "/"


def test_a_get_request_does_not_sign_a_user_out(ann, client):
    client.force_login(ann)

    response = client.get("/sign-out/")

    assert response.status_code == 405
    assert is_signed_in(client)


def test_a_post_request_signs_a_user_out(ann, client):
    client.force_login(ann)

    client.post("/sign-out/")

    assert not is_signed_in(client)


@pytest.mark.parametrize(
    ("referer", "next_url"),
    [
        ("http://testserver/jobs/?job=eod", "/jobs/?job=eod"),
        ("http://elsewhere.example/jobs/", "/"),
        ("", "/"),
    ],
    ids=["own page", "another host", "none"],
)
def test_signing_in_after_pressing_a_button_returns_to_its_page(hq, client, referer, next_url):
    response = client.post("/runs/start/", {"job": "eod"}, headers={"referer": referer})

    assert response.status_code == 302
    assert parse_qs(urlsplit(response["Location"]).query) == {"next": [next_url]}
