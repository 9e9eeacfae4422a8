"""HQ connects to public addresses and to those that CHANNEL_HOSTS allows, in any notation."""

import time

import pytest

from stores.channeldb.connect import hosts
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.hosts import resolve_and_pin
from stores.channeldb.errors import ChannelMisconfigured, ChannelUnreachable
from tests.support.channels import Channel
from tests.support.name_server import IS_GLIBC, silent_name_server

HOUSTON = Channel(1, "postgresql://shop@db/ch")
REFUSED = r"^Channel houston has an address that is refused: its host is not a public address"


def settings_for(host):
    return {"HOST": host, "OPTIONS": {"connect_timeout": 5}}


@pytest.fixture
def resolver(monkeypatch):
    """A resolver that knows four names, and answers as getaddrinfo would."""
    addresses = {
        "db.example.com": ["93.184.215.14"],
        "trap.example.com": ["10.0.0.7"],
        "both.example.com": ["93.184.215.14", "127.0.0.1"],
        "v6.example.com": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    }

    def resolve(host):
        return [(0, 0, 0, "", (address, 0)) for address in addresses.get(host, [])]

    monkeypatch.setattr(hosts, "resolve", resolve)


@pytest.fixture
def only_public(settings):
    """The setting of production, which allows public addresses only."""
    settings.CHANNEL_HOSTS = []


@pytest.mark.scenario(id="E2")
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",  # noqa: S104 - only asked about
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:7f00:1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "fd12:3456::1",
        "169.254.10.10",
        "fe80::1",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "168.63.129.16",
        "fd00:ec2::254",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_private_address_is_refused_in_any_notation(only_public, host):
    with pytest.raises(ChannelMisconfigured, match=REFUSED):
        resolve_and_pin(HOUSTON, settings_for(host))


@pytest.mark.scenario(id="E2")
@pytest.mark.parametrize("host", ["trap.example.com", "both.example.com"])
def test_a_name_that_resolves_to_such_an_address_is_refused(only_public, resolver, host):
    with pytest.raises(ChannelMisconfigured, match=REFUSED):
        resolve_and_pin(HOUSTON, settings_for(host))


@pytest.mark.scenario(id="E2")
def test_the_connection_is_pinned_to_the_address_that_was_checked(only_public, resolver):
    pinned = resolve_and_pin(HOUSTON, settings_for("db.example.com"))

    assert pinned["HOST"] == "db.example.com"
    assert pinned["OPTIONS"] == {"connect_timeout": 5, "hostaddr": "93.184.215.14"}


@pytest.mark.scenario(id="E2")
@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("93.184.215.14", "93.184.215.14"),
        ("v6.example.com", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"),
    ],
)
def test_a_public_address_needs_no_permission(only_public, resolver, host, address):
    pinned = resolve_and_pin(HOUSTON, settings_for(host))

    assert pinned["OPTIONS"]["hostaddr"] == address


@pytest.mark.scenario(id="E2")
@pytest.mark.parametrize(
    ("allowed", "host", "address"),
    [
        ("10.0.0.7", "trap.example.com", "10.0.0.7"),
        ("10.0.0.0/8", "trap.example.com", "10.0.0.7"),
        ("Trap.Example.com", "trap.example.com", "10.0.0.7"),
        ("::1", "::1", "::1"),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254"),
    ],
)
def test_the_setting_allows_an_address_a_network_or_a_name(
    settings, resolver, allowed, host, address
):
    settings.CHANNEL_HOSTS = [allowed]

    pinned = resolve_and_pin(HOUSTON, settings_for(host))

    assert pinned["OPTIONS"]["hostaddr"] == address


@pytest.mark.scenario(id="E2")
def test_an_allowed_address_may_be_written_in_another_notation(settings):
    settings.CHANNEL_HOSTS = ["127.0.0.1"]

    assert resolve_and_pin(HOUSTON, settings_for("127.1"))["OPTIONS"]["hostaddr"] == "127.0.0.1"


@pytest.mark.scenario(id="E2")
def test_allowing_a_network_does_not_allow_the_metadata_address(settings):
    settings.CHANNEL_HOSTS = ["169.254.0.0/16", "0.0.0.0/0", "::/0"]

    with pytest.raises(ChannelMisconfigured, match=REFUSED):
        resolve_and_pin(HOUSTON, settings_for("169.254.169.254"))


@pytest.mark.scenario(id="E2")
@pytest.mark.parametrize(
    "fields",
    [settings_for("/run/postgresql"), {"NAME": "file:x", "OPTIONS": {}}],
    ids=["socket", "file"],
)
def test_a_socket_or_a_file_is_not_resolved(fields):
    assert resolve_and_pin(HOUSTON, fields) == fields


@pytest.mark.scenario(id="E2")
def test_an_address_is_refused_before_any_connection(only_public):
    with (
        pytest.raises(ChannelMisconfigured, match=REFUSED),
        connect(Channel(1, "postgresql://u@localhost:1/ch")),
    ):
        pass


@pytest.mark.fault("F-42")  # a name does not resolve
def test_a_name_that_cannot_be_resolved_is_unreachable(resolver):
    with pytest.raises(ChannelUnreachable, match="the name of its server is unknown"):
        resolve_and_pin(HOUSTON, settings_for("nowhere.example.com"))


@pytest.mark.slow
@pytest.mark.skipif(not IS_GLIBC, reason="other resolvers have limits of their own")
@pytest.mark.fault("F-42")  # a name does not resolve
def test_a_name_server_that_does_not_answer_is_given_up():
    with silent_name_server() as server:
        start = time.monotonic()
        with pytest.raises(ChannelUnreachable):
            resolve_and_pin(HOUSTON, settings_for("slow.example.com"))
        seconds = time.monotonic() - start
        question = server.recv(512)

    assert b"\x04slow\x07example\x03com\x00" in question
    # Twice as long if this computer has domains to search.
    assert 1.5 < seconds < 5
