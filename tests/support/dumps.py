"""Dump and restore a database of the embedded server with pg_dump and psql."""

import os
import subprocess

from django.conf import settings

from portal.embedded.postgres import binary
from tests.support.channels import on_server
from tests.support.databases import drop_database


def dump(name: str, *options: str) -> str:
    """Dump a database. Returns an SQL script."""
    command = [binary("pg_dump"), *server(), *options, "-d", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def restore(name: str, script: str) -> None:
    """Replace a database by an empty one, and run the script in it.

    The first error ends the script. Commits are synchronous, because tests may kill the server.
    Errors: AssertionError with the output of psql.
    """
    drop_database(name)
    on_server(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    psql = [binary("psql"), *server(), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", name]
    environ = os.environ | {"PGOPTIONS": "-c synchronous_commit=on"}
    restored = subprocess.run(
        psql, input=script, env=environ, capture_output=True, text=True, check=False
    )
    assert restored.stderr == "", restored.stderr


def server() -> list[str]:
    """Options with which the programs of PostgreSQL connect to the embedded server."""
    return ["-h", str(settings.EMBEDDED.sockets), "-U", "syncline"]
