"""`manage.py worker --processes N` with small chunks: a kill can fall between any commits."""

import sys

from django.core.management import execute_from_command_line

from tests.proofs.chaos import package_kills
from tests.support.forked import shrink_chunks

CHUNK = 10

if __name__ == "__main__":
    shrink_chunks(CHUNK)
    package_kills.arm()
    execute_from_command_line(["manage.py", "worker", "--processes", sys.argv[1]])
