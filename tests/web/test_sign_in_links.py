"""Sign-in links: the command sign_in_link prints a link that signs a user in once.

There are links in an embedded installation only, such as a demo, whose database server Syncline
starts itself.

From conftest.py: `hq` is the empty database of headquarters; `command` calls a management command
and returns its output.
"""

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import resolve

from stores.web import signin
from stores.web.signin import LinkRefused, sign_in_link

# Gone: the status of a link that does not work, or does not work any more.
DEAD_LINK = 410


@pytest.fixture
def ann(hq, settings, monkeypatch) -> User:
    """A user of an embedded installation: its database host is the directory of its sockets."""
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", str(settings.EMBEDDED.sockets))
    return User.objects.create_user("ann")


@pytest.fixture
def running_demo(settings) -> Iterator[str]:
    """The address of a demo, which is in a file while it runs."""
    address = "http://127.0.0.1:8765"
    settings.EMBEDDED.run.mkdir(parents=True, exist_ok=True)
    settings.EMBEDDED.address.write_text(address)
    yield address
    settings.EMBEDDED.address.unlink()


def is_signed_in(client: Client) -> bool:
    """Whether the client is shown the overview, and not asked to sign in."""
    return client.get("/").status_code == 200


def test_a_link_signs_a_user_in(ann, client):
    response = client.get(sign_in_link("ann"))

    assert response["Location"] == "/"
    assert is_signed_in(client)


def test_a_link_works_once(ann, client):
    link = sign_in_link("ann")
    other_client = Client()
    other_client.get(link)
    assert is_signed_in(other_client)

    response = client.get(link)

    assert response.status_code == DEAD_LINK
    # The page says how to get another link.
    assert "sign_in_link" in response.content.decode()
    assert not is_signed_in(client)


def test_a_token_is_redeemed_once(ann):
    token = resolve(sign_in_link("ann")).kwargs["token"]

    first = signin.redeem(token)
    second = signin.redeem(token)

    assert first == ann
    assert second is None


def test_a_head_request_does_not_use_a_link(ann, client):
    link = sign_in_link("ann")

    response = client.head(link)

    assert response.status_code == 405
    client.get(link)
    assert is_signed_in(client)


def test_a_link_expires(ann, client, monkeypatch):
    link = sign_in_link("ann")
    # A link that was just made is already too old.
    monkeypatch.setattr(signin, "VALID_S", -1)

    response = client.get(link)

    assert response.status_code == DEAD_LINK
    assert not is_signed_in(client)


def test_a_change_of_password_ends_a_link(ann, client):
    link = sign_in_link("ann")
    ann.set_password("another long one")
    ann.save()

    response = client.get(link)

    assert response.status_code == DEAD_LINK
    assert not is_signed_in(client)


def test_an_inactive_user_cannot_use_a_link(ann, client):
    link = sign_in_link("ann")
    User.objects.update(is_active=False)

    response = client.get(link)

    assert response.status_code == DEAD_LINK
    assert not is_signed_in(client)


def test_an_inactive_user_gets_no_link(ann):
    User.objects.update(is_active=False)

    with pytest.raises(User.DoesNotExist):
        sign_in_link("ann")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("x", id="no signature"),
        pytest.param("x:y:z", id="unreadable contents"),
        # W10 is an empty list in base64.
        pytest.param("W10:1:2", id="wrong signature"),
    ],
)
def test_a_forged_link_is_refused(ann, client, token):
    response = client.get(f"/sign-in/{token}/")

    assert response.status_code == DEAD_LINK


def test_the_command_prints_a_link(ann, client, command):
    url = command("sign_in_link", "ann").strip()

    assert url.startswith("http://127.0.0.1:8000/sign-in/")
    client.get(url.removeprefix("http://127.0.0.1:8000"))
    assert is_signed_in(client)


def test_the_command_uses_the_address_of_a_running_demo(ann, running_demo, command):
    document = json.loads(command("sign_in_link", "ann", "--json"))

    assert document["user"] == "ann"
    assert document["url"].startswith(f"{running_demo}/sign-in/")


def test_the_command_refuses_an_unknown_user(ann):
    with pytest.raises(CommandError, match="There is no user 'bo'") as refused:
        call_command("sign_in_link", "bo")

    assert refused.value.returncode == 2


def switch_production_on(settings, monkeypatch) -> None:
    settings.PRODUCTION = True


def move_database_to_another_host(settings, monkeypatch) -> None:
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", "db.example.com")


# An installation that is more than a demo: anybody who can run a command would get in as anybody.
real_installations = pytest.mark.parametrize(
    "become_real", [switch_production_on, move_database_to_another_host]
)


@real_installations
def test_a_real_installation_refuses_a_link(ann, client, settings, monkeypatch, become_real):
    link = sign_in_link("ann")
    become_real(settings, monkeypatch)

    response = client.get(link)

    assert response.status_code == DEAD_LINK
    assert not is_signed_in(client)


@real_installations
def test_a_real_installation_makes_no_links(ann, settings, monkeypatch, become_real):
    become_real(settings, monkeypatch)

    with pytest.raises(LinkRefused):
        sign_in_link("ann")
    with pytest.raises(CommandError) as refused:
        call_command("sign_in_link", "ann")
    assert refused.value.returncode == 1
