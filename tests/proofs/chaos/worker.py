"""`manage.py worker` with small chunks, so that a kill can fall between any two commits."""

from django.core.management import execute_from_command_line

from tests.support.forked import shrink_chunks

CHUNK = 10

if __name__ == "__main__":
    shrink_chunks(CHUNK)
    execute_from_command_line(["manage.py", "worker", "--processes", "1"])
