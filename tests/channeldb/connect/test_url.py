"""The URLs that a channel may have; any other is refused in a message that does not repeat it."""

import os

import pytest

from stores.channeldb.connect.url import connection_settings, sqlite_path, till_url
from stores.channeldb.errors import ChannelMisconfigured
from tests.support.channels import Channel


def settings_of(url):
    return connection_settings(Channel(1, url))


@pytest.fixture(autouse=True)
def data_dir(settings, tmp_path):
    """An empty data directory."""
    directory = tmp_path / "data"
    directory.mkdir()
    settings.SYNCLINE_DATA_DIR = directory
    return directory


def test_a_postgresql_url_is_split_into_fields():
    fields = settings_of("postgresql://shop:s%40cret@db.example.com:5433/ch_houston")

    assert fields["HOST"] == "db.example.com"
    assert fields["PORT"] == "5433"
    assert fields["NAME"] == "ch_houston"
    assert (fields["USER"], fields["PASSWORD"]) == ("shop", "s@cret")


@pytest.mark.scenario(id="E1")
def test_a_password_cannot_set_other_options():
    fields = settings_of("postgresql://shop:x%20hostaddr=127.0.0.1%20options='-c%20a=b'@db/ch")

    assert fields["PASSWORD"] == "x hostaddr=127.0.0.1 options='-c a=b'"  # noqa: S105 - not a real one
    assert fields["HOST"] == "db"


def test_a_remote_host_is_verified_and_gets_no_plain_password():
    options = settings_of("postgresql://shop:secret@db.example.com/ch")["OPTIONS"]

    assert options["sslmode"] == "verify-full"
    assert options["require_auth"] == "scram-sha-256"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_local_host_needs_no_certificate(host):
    options = settings_of(f"postgresql://shop:secret@{host}/ch")["OPTIONS"]

    assert "sslmode" not in options
    assert options["require_auth"] == "scram-sha-256"


@pytest.mark.parametrize(
    "url",
    ["postgresql://shop@/ch?host=/Tmp/run", "postgresql://shop@%2FTmp%2Frun/ch"],
)
def test_a_socket_needs_no_certificate_and_no_password(url):
    fields = settings_of(url)

    assert fields["HOST"] == "/Tmp/run"
    assert not {"sslmode", "require_auth"} & fields["OPTIONS"].keys()


def test_a_url_may_set_its_ssl_mode_and_authentication():
    options = settings_of("postgresql://shop:x@db/ch?sslmode=require&require_auth=md5")["OPTIONS"]

    assert (options["sslmode"], options["require_auth"]) == ("require", "md5")


def test_production_requires_a_verified_remote_host(settings):
    settings.PRODUCTION = True

    with pytest.raises(ChannelMisconfigured, match="needs sslmode=verify-full"):
        settings_of("postgresql://shop:x@db.example.com/ch?sslmode=disable")


def test_a_connection_has_timeouts():
    options = settings_of("embedded:ch_houston")["OPTIONS"]

    assert options["connect_timeout"] == 5
    assert "statement_timeout=30s" in options["options"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "houston",
        "mysql://shop@db/ch",
        "postgresql://shop:s3cret@db",
        "postgresql://shop:s3cret@/ch",
        "postgresql://shop:s3cret@db/ch?options=-c%20search_path=evil",
        "postgresql://shop:s3cret@db/ch?hostaddr=127.0.0.1",
        "postgresql://shop:s3cret@db/ch?service=x",
        "postgresql://shop:s3cret@db/ch?sslmode",
        "postgresql://shop:s3cret@db/ch#there",
        "postgresql://shop:s3cret@one,two/ch",
        "postgresql://shop:s3cret@db:99999/ch",
        "postgresql://shop:s3cret@[::1/ch",
        "postgresql://shop:s3cret@db/" + "x" * 64,
        "postgresql://shop:s3cret@db/ch%00",
        "embedded:",
        "embedded:Houston",
        "embedded:ch/../x",
        "embedded:ch host=evil",
    ],
)
def test_any_other_url_is_refused_and_not_repeated(url):
    with pytest.raises(ChannelMisconfigured, match=r"^Channel houston .* refused: ") as refusal:
        settings_of(url)

    assert "s3cret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    "value",
    [
        b"postgresql://shop:s3cret@db/\xff",
        b"postgresql://shop:s3cret@d\xff/ch",
        b"postgresql://sh\xffop:s3cret@db/ch",
        b"postgresql://shop:s3cret\xff@db/ch",
        b"postgresql://shop:s3cret@db/ch?host=\xff",
    ],
)
def test_bytes_that_are_no_utf8_are_refused_and_not_repeated(monkeypatch, value):
    monkeypatch.setenv("CHANNEL_DSN_SEATTLE", os.fsdecode(value))

    with pytest.raises(ChannelMisconfigured, match="refused: ") as refusal:
        settings_of("env:CHANNEL_DSN_SEATTLE")

    assert "s3cret" not in str(refusal.value)
    str(refusal.value).encode()


def test_a_url_may_name_an_environment_variable(monkeypatch):
    monkeypatch.setenv("CHANNEL_DSN_SEATTLE", "postgresql://shop:secret@db/ch_seattle")

    assert settings_of("env:CHANNEL_DSN_SEATTLE")["NAME"] == "ch_seattle"


@pytest.mark.parametrize(
    ("url", "value", "rule"),
    [
        ("env:HOME", None, "must name a variable CHANNEL_DSN_"),
        ("env:SYNCLINE_SECRET_KEY", None, "must name a variable CHANNEL_DSN_"),
        ("env:CHANNEL_DSN_", None, "must name a variable CHANNEL_DSN_"),
        ("env:CHANNEL_DSN_SEATTLE", None, "CHANNEL_DSN_SEATTLE is not set"),
        ("env:CHANNEL_DSN_SEATTLE", "", "CHANNEL_DSN_SEATTLE is not set"),
        ("env:CHANNEL_DSN_SEATTLE", "env:CHANNEL_DSN_SEATTLE", "must hold"),
        ("env:CHANNEL_DSN_SEATTLE", "embedded:ch", "must hold"),
    ],
)
def test_a_variable_that_holds_no_url_is_refused(monkeypatch, url, value, rule):
    monkeypatch.delenv("CHANNEL_DSN_SEATTLE", raising=False)
    if value is not None:
        monkeypatch.setenv("CHANNEL_DSN_SEATTLE", value)

    with pytest.raises(ChannelMisconfigured, match=rule):
        settings_of(url)


def test_a_file_is_in_the_data_directory(data_dir):
    channel = Channel(1, "sqlite:///tills/kassa 1.sqlite3")

    assert sqlite_path(channel) == data_dir / "tills/kassa 1.sqlite3"


def test_a_file_is_opened_and_never_created(data_dir):
    name = settings_of("sqlite:///tills/kassa 1.sqlite3")["NAME"]

    assert name == f"file://{data_dir}/tills/kassa%201.sqlite3?mode=rw"


@pytest.mark.scenario(id="E4")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/etc/passwd",
        "../outside.sqlite3",
        "tills/../../outside.sqlite3",
        "tills//one.sqlite3",
        "./one.sqlite3",
        ".hidden",
        ":memory:",
        "file:one.sqlite3",
        "one.sqlite3?mode=memory",
        "one.sqlite3#x",
        "%2e%2e/outside.sqlite3",
        "one\x00.sqlite3",
        "one\n.sqlite3",
        "é" * 200,
    ],
)
def test_a_path_out_of_the_data_directory_is_refused(path):
    with pytest.raises(ChannelMisconfigured, match=r"^Channel houston .* refused: "):
        settings_of(f"sqlite:///{path}")


@pytest.mark.parametrize("url", ["sqlite:one.sqlite3", "sqlite://host/one.sqlite3", "sqlite:one"])
def test_a_sqlite_url_with_host_or_without_slashes_is_refused(url):
    with pytest.raises(ChannelMisconfigured):
        settings_of(url)


@pytest.mark.scenario(id="E4")
def test_a_link_out_of_the_data_directory_is_refused(data_dir, tmp_path):
    outside = tmp_path / "outside.sqlite3"
    outside.touch()
    (data_dir / "link.sqlite3").symlink_to(outside)
    (data_dir / "folder").symlink_to(tmp_path)

    for path in ("link.sqlite3", "folder/outside.sqlite3", "folder/new.sqlite3"):
        with pytest.raises(ChannelMisconfigured, match="outside SYNCLINE_DATA_DIR"):
            settings_of(f"sqlite:///{path}")


def test_a_link_within_the_data_directory_is_followed(data_dir):
    (data_dir / "real.sqlite3").touch()
    (data_dir / "link.sqlite3").symlink_to(data_dir / "real.sqlite3")

    assert sqlite_path(Channel(1, "sqlite:///link.sqlite3")) == data_dir / "real.sqlite3"


@pytest.mark.scenario(id="E4")
def test_a_path_that_is_no_file_is_refused(data_dir):
    (data_dir / "folder.sqlite3").mkdir()
    os.mkfifo(data_dir / "pipe.sqlite3")
    (data_dir / "loop.sqlite3").symlink_to(data_dir / "loop.sqlite3")

    for name, rule in (
        ("folder", "not a file"),
        ("pipe", "not a file"),
        ("loop", "cannot be followed"),
    ):
        with pytest.raises(ChannelMisconfigured, match=rule):
            settings_of(f"sqlite:///{name}.sqlite3")


@pytest.mark.scenario(id="E4")
def test_a_device_is_refused(settings):
    settings.SYNCLINE_DATA_DIR = "/dev"

    with pytest.raises(ChannelMisconfigured, match="not a file"):
        settings_of("sqlite:///null")


def test_a_till_gets_a_url_that_it_can_use(data_dir, settings):
    sockets = settings.EMBEDDED.sockets

    assert till_url(Channel(1, "embedded:ch_a")) == f"postgresql://syncline@/ch_a?host={sockets}"
    assert till_url(Channel(1, "sqlite:///a.sqlite3")) == f"sqlite:///{data_dir}/a.sqlite3"
    assert till_url(Channel(1, "env:CHANNEL_DSN_A")) == "env:CHANNEL_DSN_A"
    assert till_url(Channel(1, "postgresql://u@db/ch")) == "postgresql://u@db/ch"
