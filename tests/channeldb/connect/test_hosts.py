"""E2: HQ connects to public addresses and to what the setting allows, in whatever spelling."""

import pytest

from stores.channeldb.connect import hosts
from stores.channeldb.connect.connection import ChannelMisconfigured, ChannelUnreachable, connect
from stores.channeldb.connect.hosts import resolve_and_pin
from tests.support.channels import Channel

HOUSTON = Channel(1, "postgresql://shop@db/ch")
REFUSED = r"^Channel houston has an address that is refused: its host is not a public address"


def settings_for(host):
    return {"HOST": host, "OPTIONS": {"connect_timeout": 5}}


@pytest.fixture
def names(monkeypatch):
    """A resolver that knows a few names, and no other."""
    known = {
        "db.example.com": ["93.184.215.14"],
        "trap.example.com": ["10.0.0.7"],
        "both.example.com": ["93.184.215.14", "127.0.0.1"],
        "v6.example.com": ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    }

    def ask(host, answers):
        answers.extend((0, 0, 0, "", (address, 0)) for address in known.get(host, []))

    monkeypatch.setattr(hosts, "resolve", ask)


@pytest.fixture
def strict(settings):
    """As in production, where nothing is allowed beside the public internet."""
    settings.CHANNEL_HOSTS = []


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
def test_e2_address_that_is_not_public_is_refused_in_any_spelling(strict, host):
    with pytest.raises(ChannelMisconfigured, match=REFUSED):
        resolve_and_pin(HOUSTON, settings_for(host))


@pytest.mark.parametrize("host", ["trap.example.com", "both.example.com"])
def test_e2_name_that_leads_to_such_an_address_is_refused(strict, names, host):
    with pytest.raises(ChannelMisconfigured, match=REFUSED):
        resolve_and_pin(HOUSTON, settings_for(host))


def test_e2_address_that_was_checked_is_the_one_that_is_connected_to(strict, names):
    found = resolve_and_pin(HOUSTON, settings_for("db.example.com"))

    assert found["HOST"] == "db.example.com"
    assert found["OPTIONS"] == {"connect_timeout": 5, "hostaddr": "93.184.215.14"}


@pytest.mark.parametrize("host", ["93.184.215.14", "v6.example.com"])
def test_e2_public_address_needs_no_permission(strict, names, host):
    assert resolve_and_pin(HOUSTON, settings_for(host))["OPTIONS"]["hostaddr"]


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        ("10.0.0.7", "trap.example.com"),
        ("10.0.0.0/8", "trap.example.com"),
        ("Trap.Example.com", "trap.example.com"),
        ("::1", "::1"),
        ("169.254.169.254", "169.254.169.254"),
    ],
)
def test_e2_setting_allows_an_address_a_network_or_a_name(settings, names, allowed, host):
    settings.CHANNEL_HOSTS = [allowed]

    assert resolve_and_pin(HOUSTON, settings_for(host))["OPTIONS"]["hostaddr"]


def test_e2_spelling_does_not_matter_to_the_setting(settings):
    settings.CHANNEL_HOSTS = ["127.0.0.1"]

    assert resolve_and_pin(HOUSTON, settings_for("127.1"))["OPTIONS"]["hostaddr"] == "127.0.0.1"


def test_e2_metadata_is_not_allowed_as_part_of_a_network(settings):
    settings.CHANNEL_HOSTS = ["169.254.0.0/16", "0.0.0.0/0", "::/0"]

    with pytest.raises(ChannelMisconfigured, match=REFUSED):
        resolve_and_pin(HOUSTON, settings_for("169.254.169.254"))


def test_e2_socket_and_file_have_no_address():
    for conf in (settings_for("/run/postgresql"), {"NAME": "file:x", "OPTIONS": {}}):
        assert resolve_and_pin(HOUSTON, conf) == conf


def test_e2_refusal_comes_before_any_connection(strict):
    with (
        pytest.raises(ChannelMisconfigured, match=REFUSED),
        connect(Channel(1, "postgresql://u@localhost:1/ch")),
    ):
        pass


@pytest.mark.fault("F-42")
def test_name_that_nobody_knows_is_unreachable(names):
    with pytest.raises(ChannelUnreachable, match=r"^Channel houston cannot be reached\.$"):
        resolve_and_pin(HOUSTON, settings_for("nowhere.example.com"))


@pytest.mark.fault("F-42")
def test_resolver_that_does_not_answer_is_not_waited_for(monkeypatch, settings):
    import threading

    silent = threading.Event()
    monkeypatch.setattr(hosts, "resolve", lambda host, answers: silent.wait(60))
    settings.CHANNEL_CONNECT_S = 0.05

    with pytest.raises(ChannelUnreachable):
        resolve_and_pin(HOUSTON, settings_for("slow.example.com"))
    silent.set()
