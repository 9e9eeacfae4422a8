"""The list of faults: each has a test, with its mark, that shows what is expected under it."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
# What goes wrong in each. F-43, certificates, comes with that part.
FAULTS = {
    "F-01": "a worker's parent process dies",
    "F-02": "a worker process dies",
    "F-03": "a worker and its parent die",
    "F-04": "the web process dies in a request",
    "F-05": "a process is frozen longer than its lease",
    "F-06": "a run is asked to stop in a batch",
    "F-07": "memory is short",
    "F-08": "two schedulers run at once",
    "F-09": "an old and a new release run side by side",
    "F-10": "a command is interrupted",
    "F-11": "a connection to HQ is killed",
    "F-12": "HQ's server is killed",
    "F-13": "a channel's server is down",
    "F-14": "the outcome of a COMMIT is unknown",
    "F-15": "a deadlock",
    "F-16": "a serialization failure",
    "F-17": "a lock or statement timeout",
    "F-18": "no connection is left",
    "F-19": "HQ's server is read-only",
    "F-20": "a lower counter commits late",
    "F-21": "an old transaction is open elsewhere",
    "F-22": "a till writes between read and acknowledgement",
    "F-23": "a row is deleted between read and acknowledgement",
    "F-24": "HQ's disk is full",
    "F-25": "a SQLite file cannot grow",
    "F-26": "a SQLite file is locked",
    "F-27": "a SQLite file is missing or damaged",
    "F-28": "a channel's schema was changed",
    "F-29": "a migration is half done",
    "F-30": "a database has another encoding",
    "F-31": "a channel was restored from a backup",
    "F-32": "a channel database was copied",
    "F-33": "HQ was restored from a backup",
    "F-34": "two HQs use the same channels",
    "F-35": "HQ and a channel were both restored",
    "F-36": "HQ lost its last seconds",
    "F-37": "the queue was emptied or is old",
    "F-38": "the network fails",
    "F-39": "the queue is down when a button is pressed",
    "F-40": "the queue dies during a run",
    "F-41": "the queue is full or evicts",
    "F-42": "a name does not resolve",
    "F-44": "a button is pressed several times at once",
    "F-45": "a message arrives several times",
    "F-46": "a command is called twice at once",
    "F-47": "real-time requests are repeated and parallel",
    "F-48": "a real-time request and an upload meet",
    "F-49": "events arrive in another order",
    "F-50": "HQ and a channel edit the same customer",
    "F-51": "a customer is erased during a conversion",
    "F-52": "a right is withdrawn while a run waits",
    "F-53": "a clock jumps",
    "F-54": "a till's clock is far off",
    "F-55": "an hour that is there twice, or is missing",
    "F-56": "days that end late, leap days, year ends",
    "F-57": "amounts in binary fractions",
    "F-58": "hostile text",
    "F-59": "one bad row among many",
    "F-60": "thousands of bad rows",
    "F-61": "a burst of rows",
    "F-62": "counters near their limit",
}


def marked() -> Iterator[str]:
    """The ids in every mark of the test tree."""
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "fault":
                yield from (ast.literal_eval(argument) for argument in node.args)


def test_every_fault_has_its_test():
    found = set(marked())

    assert found - FAULTS.keys() == set(), "no such fault"
    assert FAULTS.keys() - found == set(), "a fault has lost its test"
