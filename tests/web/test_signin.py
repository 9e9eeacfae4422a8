"""Signing in: by password, and by a link that works once."""

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
def ann(hq, settings) -> User:
    """A user on an embedded installation, wherever the test's own database is."""
    settings.DATABASES["default"]["HOST"], kept = (
        str(settings.EMBEDDED.sockets),
        settings.DATABASES["default"]["HOST"],
    )
    yield User.objects.create_user("ann", password=PASSWORD)
    settings.DATABASES["default"]["HOST"] = kept


def is_signed_in(client: Client) -> bool:
    return client.get("/").status_code == 200


def test_a_link_signs_in(ann, client):
    answer = client.get(sign_in_link("ann"))

    assert answer["Location"] == "/"
    assert is_signed_in(client)


def test_a_link_works_once(ann):
    link = sign_in_link("ann")
    Client().get(link)
    second = Client()

    answer = second.get(link)

    assert answer.status_code == 410
    assert b"sign_in_link" in answer.content
    assert not is_signed_in(second)


def test_a_look_at_a_link_does_not_use_it_up(ann, client):
    link = sign_in_link("ann")

    assert client.head(link).status_code == 405
    client.get(link)

    assert is_signed_in(client)


def test_a_link_dies_with_time(ann, client, monkeypatch):
    link = sign_in_link("ann")
    monkeypatch.setattr(signin, "VALID_S", -1)

    assert client.get(link).status_code == 410


def test_a_new_password_kills_a_link(ann, client):
    link = sign_in_link("ann")
    ann.set_password("another long one")
    ann.save()

    assert client.get(link).status_code == 410


def test_a_user_who_is_switched_off_has_no_link(ann, client):
    link = sign_in_link("ann")
    User.objects.update(is_active=False)

    assert client.get(link).status_code == 410
    with pytest.raises(User.DoesNotExist):
        sign_in_link("ann")


@pytest.mark.parametrize("token", ["x", "x:y:z", "W10:1:2"])
def test_a_made_up_link_is_refused(ann, client, token):
    assert client.get(f"/sign-in/{token}/").status_code == 410


def test_of_two_at_once_one_gets_in(ann):
    token = sign_in_link("ann").split("/")[2]
    late = User.objects.get(username="ann")

    assert signin.redeem(token) == late
    assert not User.objects.filter(pk=late.pk, last_login=late.last_login).exists()
    assert signin.redeem(token) is None


def test_the_command_prints_a_link_that_works(ann, client, command):
    url = command("sign_in_link", "ann").strip()

    assert url.startswith("http://127.0.0.1:8000/sign-in/")
    client.get(url.removeprefix("http://127.0.0.1:8000"))
    assert is_signed_in(client)


def test_the_command_names_the_running_demo(ann, command, settings):
    settings.EMBEDDED.run.mkdir(parents=True, exist_ok=True)
    settings.EMBEDDED.address.write_text("http://127.0.0.1:8765")
    try:
        found = json.loads(command("sign_in_link", "ann", "--json"))
    finally:
        settings.EMBEDDED.address.unlink()

    assert found["user"] == "ann"
    assert found["url"].startswith("http://127.0.0.1:8765/sign-in/")


def test_the_command_knows_no_stranger(ann):
    with pytest.raises(CommandError, match="There is no user 'bo'") as refused:
        call_command("sign_in_link", "bo")

    assert refused.value.returncode == 2


@pytest.mark.parametrize("where", ["production", "elsewhere"])
def test_links_are_for_the_embedded_demo_only(ann, client, settings, where):
    link = sign_in_link("ann")
    if where == "production":
        settings.PRODUCTION = True
    else:
        settings.DATABASES["default"]["HOST"] = "db.example.com"

    assert client.get(link).status_code == 410
    with pytest.raises(LinkRefused):
        sign_in_link("ann")
    with pytest.raises(CommandError) as refused:
        call_command("sign_in_link", "ann")
    assert refused.value.returncode == 1


def test_a_password_signs_in_and_leads_where_one_wanted(ann, client):
    form = {"username": "ann", "password": PASSWORD, "next": "/runs/"}

    answer = client.post("/sign-in/?next=/runs/", form)

    assert answer["Location"] == "/runs/"


@pytest.mark.parametrize("name", ["ann", "bo"])
def test_a_wrong_password_says_no_more_than_that(ann, client, name):
    answer = client.post("/sign-in/", {"username": name, "password": "wrong"})

    assert b"Please enter a correct username and password" in answer.content
    assert not is_signed_in(client)


def test_no_one_is_led_to_another_host(ann, client):
    form = {"username": "ann", "password": PASSWORD, "next": "https://evil.example/"}

    assert client.post("/sign-in/", form)["Location"] == "/"


def test_signing_out_takes_a_form(ann, client):
    client.force_login(ann)

    assert client.get("/sign-out/").status_code == 405
    assert is_signed_in(client)
    client.post("/sign-out/")
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    ("page", "leads_to"),
    [
        ("http://testserver/jobs/?job=eod", "/jobs/?job=eod"),
        ("http://elsewhere.example/jobs/", "/"),
        ("", "/"),
    ],
)
def test_who_was_signed_out_at_a_button_comes_back_to_its_page(hq, client, page, leads_to):
    answer = client.post("/runs/start/", {"job": "eod"}, headers={"referer": page})

    assert answer.status_code == 302
    assert parse_qs(urlsplit(answer["Location"]).query) == {"next": [leads_to]}
