"""Dump a database with the server's own programs and restore it, as its owner would."""

import os
import subprocess

from django.conf import settings

from portal.embedded.postgres import binary
from tests.support.channels import on_server


def dump(name: str, *options: str) -> str:
    """A database of the embedded server as a script of SQL."""
    command = [binary("pg_dump"), *server(), *options, "-d", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def restore(name: str, script: str) -> None:
    """Put what the script says into an empty database in the place of this one.

    psql would go on over an error, so here it must not. What is restored is on the disk: the
    server may be tuned otherwise, and die. Errors: AssertionError with what it said.
    """
    on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    on_server(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    psql = [binary("psql"), *server(), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name]
    environ = os.environ | {"PGOPTIONS": "-c synchronous_commit=on"}
    restored = subprocess.run(
        psql, input=script, env=environ, capture_output=True, text=True, check=False
    )
    assert restored.stderr == "", restored.stderr


def server() -> list[str]:
    """Where the embedded server listens, as its programs are told."""
    return ["-h", str(settings.EMBEDDED.sockets), "-U", "syncline"]
