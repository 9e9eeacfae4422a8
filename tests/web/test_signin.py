"""Signing in with a password, and signing out.

From conftest.py: `hq` is the empty database of headquarters.
"""

import pytest
from django.contrib.auth.models import User
from django.test import Client

PASSWORD = "a long one for ann"  # noqa: S105


@pytest.fixture
def ann(hq) -> User:
    return User.objects.create_user("ann", password=PASSWORD)


def is_signed_in(client: Client) -> bool:
    """Whether the client is shown the overview, and not asked to sign in."""
    return client.get("/").status_code == 200


def test_a_password_signs_a_user_in(ann, client):
    form = {"username": "ann", "password": PASSWORD, "next": "/runs/"}

    response = client.post("/sign-in/", form)

    assert response["Location"] == "/runs/"
    assert is_signed_in(client)


def test_signing_in_does_not_redirect_to_another_host(ann, client):
    form = {"username": "ann", "password": PASSWORD, "next": "https://evil.example/"}

    response = client.post("/sign-in/", form)

    assert response["Location"] == "/"


# The same message for both: it does not tell which users there are.
@pytest.mark.parametrize("username", ["ann", "bo"], ids=["wrong password", "unknown user"])
def test_a_refused_user_is_not_told_why(ann, client, username):
    response = client.post("/sign-in/", {"username": username, "password": "wrong"})

    assert "Please enter a correct username and password" in response.content.decode()
    assert not is_signed_in(client)


# For example an image on another site, which a browser loads without being asked.
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
    ("page", "sign_in_url"),
    [
        ("http://testserver/jobs/?job=eod", "/sign-in/?next=/jobs/%3Fjob%3Deod"),
        ("http://elsewhere.example/jobs/", "/sign-in/?next=/"),
        ("", "/sign-in/?next=/"),
    ],
    ids=["own page", "another host", "unknown page"],
)
def test_a_signed_out_user_returns_to_the_page_of_the_button(hq, client, page, sign_in_url):
    response = client.post("/runs/start/", {"job": "eod"}, headers={"referer": page})

    assert response.status_code == 302
    assert response["Location"] == sign_in_url
