"""Steps are done by processes; the only thread that we start is the heartbeat of a process."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STARTERS = {
    "Thread",
    "ThreadPool",
    "ThreadPoolExecutor",
    "Timer",
    "run_in_executor",
    "start_new_thread",
    "sync_to_async",
    "to_thread",
}


def starts_threads(source: str) -> bool:
    """Whether code names anything that starts a thread."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {alias.name.rpartition(".")[2] for alias in node.names}
    return bool(names & STARTERS)


def test_only_the_heartbeat_is_a_thread():
    files = [path for room in ("portal", "stores") for path in (ROOT / room).rglob("*.py")]

    found = {str(path.relative_to(ROOT)) for path in files if starts_threads(path.read_text())}

    assert found == {"stores/heartbeat.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nthreading.Thread(target=print).start()",
        "from threading import Thread as Worker\nWorker(target=print).start()",
        "from concurrent import futures\nfutures.ThreadPoolExecutor()",
        "class Writer(threading.Thread): pass",
    ],
)
def test_a_thread_is_seen_however_it_is_named(source):
    assert starts_threads(source)
    assert not starts_threads("import threading\nthreading.Event()")
