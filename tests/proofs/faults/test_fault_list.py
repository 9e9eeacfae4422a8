"""Every fault of the list has a test that shows what is expected under it."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
# F-43 is about certificates: it comes with that part.
LATER = {"F-43"}
WANTED = {f"F-{number:02}" for number in range(1, 63)} - LATER


def marked() -> Iterator[str]:
    """The ids in every mark of the test tree."""
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "fault":
                yield from (ast.literal_eval(argument) for argument in node.args)


def test_every_fault_has_its_test():
    found = set(marked())

    assert found - WANTED - LATER == set(), "no such fault"
    assert WANTED - found == set(), "a fault has lost its test"
