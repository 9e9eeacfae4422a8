"""The measures of bench/ still run; what they measure is nobody's business here."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from bench.__main__ import MEASURES
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow

# A table of each measure begins with this.
HEADS = {
    "lists": "| look-up | p50 ms |",
    "ring": "| step | plain SQL | Syncline | ratio |",
    "backlog": "| step | first | later | ratio |",
    "growth": "| customers | upload | convert | download |",
    "orm": "| customers | bulk ORM | Syncline |",
    "sqlite": "| customers | PostgreSQL | SQLite |",
    "trickle": "| measure | goal | median |",
    "day": "| step | first day |",
    "idle": "| channels | of them SQLite | workers |",
    "burst": "| channels, of them SQLite |",
}


@pytest.mark.timeout(600)
def test_a12_every_measure_runs_with_tiny_numbers(django_db_setup, tmp_path):
    dsn = f"postgresql://syncline@/postgres?host={settings.EMBEDDED.sockets}"
    environ = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}

    measured = subprocess.run(
        [sys.executable, "-m", "bench", "all", "--tiny", "--dsn", dsn],
        cwd=ROOT,
        env=environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (measured.returncode, "Traceback" in measured.stderr) == (0, False), measured.stderr
    assert HEADS.keys() == MEASURES.keys()
    assert [name for name, head in HEADS.items() if head not in measured.stdout] == []
