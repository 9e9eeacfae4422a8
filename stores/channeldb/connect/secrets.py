"""Where the secret of a channel's database is: elsewhere, or encrypted beside its address.

A secret is a password, or a whole address. It is given in one of three forms: `env:CHANNEL_DSN_X`
is in the environment of the process; `file:NAME` is in a file of the folder SECRETS_DIR, which is
read at each visit; `fernet:TOKEN` is the password itself, encrypted with a key of SECRETS_KEYS, or
with that of the embedded server's data folder.
"""

import os
import re
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from stores.messages.message import Message

ENVIRONMENT_NAME = re.compile(r"CHANNEL_DSN_[A-Z0-9_]{1,100}")
# A name, never a path: nothing that hides or ascends.
FILE_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}")
MAX_FILE_BYTES = 4096
ENCRYPTED = "fernet:"


class SecretRefused(ValueError):
    """A secret cannot be read. The message names the rule, and repeats nothing of the secret."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


def is_reference(text: str) -> bool:
    """Whether the text says where a secret is, instead of being one."""
    return text.startswith(("env:", "file:"))


def read_secret(secret: str) -> str:
    """Read a secret that is given in one of the three forms. Errors: SecretRefused."""
    form, _, name = secret.partition(":")
    if form == "env":
        return read_variable(name)
    return read_file(name) if form == "file" else decrypt(secret)


def references_work() -> bool:
    """Whether a reference can be entered: there is the folder of secrets, or such a variable."""
    return bool(settings.SECRETS_DIR) or any(map(ENVIRONMENT_NAME.fullmatch, os.environ))


def read_variable(name: str) -> str:
    if not ENVIRONMENT_NAME.fullmatch(name):
        raise SecretRefused(Message("environment_name_invalid"))
    value = os.environ.get(name, "")
    if not value:
        raise SecretRefused(Message("environment_value_missing", name=name))
    return value


def read_file(name: str) -> str:
    """Read a file of the secrets folder; links may lead to other files of the folder only.

    Errors: SecretRefused.
    """
    if not settings.SECRETS_DIR:
        raise SecretRefused(Message("secrets_folder_missing"))
    if not FILE_NAME.fullmatch(name):
        raise SecretRefused(Message("secret_name_invalid"))
    root = Path(settings.SECRETS_DIR).resolve()
    try:
        path = (root / name).resolve(strict=True)
        if not (path.is_relative_to(root) and stat.S_ISREG(path.stat().st_mode)):
            raise SecretRefused(Message("secret_file_outside", name=name))
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise SecretRefused(Message("secret_file_missing", name=name)) from None
    except (OSError, RuntimeError):
        raise SecretRefused(Message("secret_file_unreadable", name=name)) from None
    return only_line(name, content)


def only_line(name: str, content: bytes) -> str:
    """The text of a file of one line, without the line break at its end. Errors: SecretRefused."""
    try:
        line = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        line = ""
    if not line.isprintable() or not line or len(content) > MAX_FILE_BYTES:
        raise SecretRefused(Message("secret_file_invalid", name=name))
    return line


# --------------------------------------------------------------------------------- encryption


def can_encrypt() -> bool:
    """Whether there is a key, so that passwords can be stored."""
    return bool(keys())


def keys() -> list[str]:
    """The keys: the first encrypts, and each decrypts."""
    return [*settings.SECRETS_KEYS, *own_key()]


def own_key() -> list[str]:
    """The key in the data folder of the embedded server, if there is one that can be used."""
    if settings.SECRETS_KEY_FILE is None:
        return []
    try:
        key = settings.SECRETS_KEY_FILE.read_text().strip()
        Fernet(key)
    except (OSError, ValueError):
        return []
    return [key]


def encrypt(password: str) -> str:
    """Encrypt a password with the first key."""
    return ENCRYPTED + cipher().encrypt(password.encode()).decode()


def decrypt(secret: str) -> str:
    """Decrypt a stored password with whichever key fits. Errors: SecretRefused."""
    if not can_encrypt():
        raise SecretRefused(Message("secrets_key_missing"))
    try:
        return cipher().decrypt(secret.removeprefix(ENCRYPTED)).decode()
    except InvalidToken:
        raise SecretRefused(Message("secrets_key_wrong")) from None


def encrypt_again(secret: str) -> str:
    """Encrypt a stored password with the first key. Errors: SecretRefused."""
    return encrypt(decrypt(secret))


def cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys()])
