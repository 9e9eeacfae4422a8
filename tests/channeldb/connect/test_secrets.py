"""Passwords and addresses of channels that are kept in files or encrypted, and never repeated."""

import os

import pytest
from cryptography.fernet import Fernet

from stores.channeldb.connect.secrets import decrypt, encrypt, encrypt_again
from stores.channeldb.connect.url import connection_settings
from stores.channeldb.errors import ChannelMisconfigured
from tests.support.channels import Channel

ADDRESS = "postgresql://shop@localhost/ch_houston"
OLD_KEY, NEW_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()


@pytest.fixture
def folder(settings, tmp_path):
    """The folder of secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    settings.SECRETS_DIR = str(folder)
    return folder


def password_of(secret: str, url: str = ADDRESS) -> str:
    return connection_settings(Channel(1, url, secret=secret))["PASSWORD"]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=repr)
def test_a_password_in_a_file_is_read_at_each_visit(folder, ending):
    (folder / "houston").write_bytes(b"s3cret" + ending.encode())
    before = password_of("file:houston")
    (folder / "houston").write_text("changed")

    assert (before, password_of("file:houston")) == ("s3cret", "changed")


def test_an_address_in_a_file_is_read_with_its_password(folder):
    (folder / "houston").write_text("postgresql://shop:s3cret@localhost/ch_houston\n")

    assert password_of("", "file:houston") == "s3cret"


def test_a_file_that_is_a_link_within_the_folder_is_read(folder):
    (folder / "..data").mkdir()
    (folder / "..data" / "houston").write_text("s3cret")
    (folder / "houston").symlink_to("..data/houston")

    assert password_of("file:houston") == "s3cret"


def test_a_password_in_a_file_makes_a_remote_host_prove_itself(folder):
    (folder / "houston").write_text("s3cret")
    url = "postgresql://shop@db.example.com/ch_houston"

    options = connection_settings(Channel(1, url, secret="file:houston"))["OPTIONS"]  # noqa: S106

    assert (options["sslmode"], options["require_auth"]) == ("verify-full", "scram-sha-256")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("missing", "there is no file missing in SYNCLINE_SECRETS_DIR"),
        ("../outside", "must name a file in SYNCLINE_SECRETS_DIR, without a folder"),
        ("..", "must name a file"),
        (".hidden", "must name a file"),
        ("/etc/passwd", "must name a file"),
        ("a\0b", "must name a file"),
        ("link", "leads out of SYNCLINE_SECRETS_DIR"),
        ("subfolder", "leads out of SYNCLINE_SECRETS_DIR"),
        ("pipe", "leads out of SYNCLINE_SECRETS_DIR"),
        ("empty", "must hold one line"),
        ("lines", "must hold one line"),
        ("bytes", "must hold one line"),
        ("long", "must hold one line"),
    ],
)
def test_any_other_file_is_refused(folder, name, rule):
    (folder.parent / "outside").write_text("hunter2")
    (folder / "link").symlink_to(folder.parent / "outside")
    (folder / "subfolder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "empty").write_text("\n")
    (folder / "lines").write_text("hunter2\nhunter2\n")
    (folder / "bytes").write_bytes(b"hunter2\xff")
    (folder / "long").write_text("hunter2" * 1000)

    with pytest.raises(ChannelMisconfigured, match=rule) as error:
        password_of(f"file:{name}")

    assert "hunter2" not in str(error.value)


def test_a_file_needs_the_setting_of_its_folder(settings):
    settings.SECRETS_DIR = ""

    with pytest.raises(ChannelMisconfigured, match="needs the setting SYNCLINE_SECRETS_DIR"):
        password_of("file:houston")


def test_an_encrypted_password_is_decrypted_with_whichever_key_fits(settings):
    settings.SECRETS_KEYS = [OLD_KEY]
    secret = encrypt("s3cret")
    settings.SECRETS_KEYS = [NEW_KEY, OLD_KEY]

    assert password_of(secret) == "s3cret"
    assert "s3cret" not in secret


def test_a_password_that_is_encrypted_again_needs_the_old_key_no_longer(settings):
    settings.SECRETS_KEYS = [OLD_KEY]
    secret = encrypt("s3cret")
    settings.SECRETS_KEYS = [NEW_KEY, OLD_KEY]
    secret = encrypt_again(secret)
    settings.SECRETS_KEYS = [NEW_KEY]

    assert decrypt(secret) == "s3cret"


def test_the_key_of_the_data_folder_is_used_until_another_is_set(settings, tmp_path):
    settings.SECRETS_KEY_FILE = tmp_path / "secrets.key"
    settings.SECRETS_KEY_FILE.write_text(f"{OLD_KEY}\n")
    settings.SECRETS_KEYS = []
    secret = encrypt("s3cret")

    settings.SECRETS_KEYS = [NEW_KEY]
    again = encrypt_again(secret)
    settings.SECRETS_KEY_FILE.write_text("no key")

    assert decrypt(again) == "s3cret"
    with pytest.raises(ValueError, match="no key of headquarters"):
        decrypt(secret)


@pytest.mark.parametrize(
    ("keys", "rule"),
    [
        ([], "SYNCLINE_SECRETS_KEY is not set"),
        ([NEW_KEY], "no key of headquarters decrypts its password"),
    ],
    ids=["no key", "another key"],
)
def test_a_password_without_its_key_is_refused(settings, keys, rule):
    settings.SECRETS_KEYS = [OLD_KEY]
    secret = encrypt("s3cret")
    settings.SECRETS_KEYS, settings.SECRETS_KEY_FILE = keys, None

    with pytest.raises(ChannelMisconfigured, match=rule):
        password_of(secret)
