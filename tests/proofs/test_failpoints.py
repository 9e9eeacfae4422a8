"""The source code has a named failpoint wherever a transaction moves rows on."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from stores.failpoints import FAILPOINTS
from tests.support.processes import ROOT

STORES = ROOT / "stores"
# Checks move no rows. recover.py does, unlike the rest of its package.
INTEGRITY = STORES / "pipeline/integrity"
RECOVER = INTEGRITY / "recover.py"
# The path that begins each call of a failpoint, by the failpoint's first word.
PATHS = {
    "run": ("stores/jobs",),
    "step": ("stores/jobs",),
    "fence": ("stores/pipeline/fence",),
    "upload": ("stores/pipeline/upload/", "stores/channeldb/exchange/"),
    "convert": ("stores/pipeline/convert",),
    "download": ("stores/pipeline/download/", "stores/channeldb/exchange/"),
    "merge": ("stores/till/merge_upward.py",),
    "journal": ("stores/pipeline/number_journal.py",),
    "validate": ("stores/pipeline/sales/validate.py",),
    "orders": ("stores/pipeline/sales/orders.py",),
    "statements": ("stores/pipeline/sales/statement",),
}
# A transaction that only calls these reports or counts something; it moves no rows.
REPORTING_CALL = re.compile(r"(?:.*\.)?(?:report_\w+|count_\w+|add|Incident\.objects\.report)")


def failpoint_calls() -> Iterator[tuple[str, str]]:
    """The name of each failpoint that is called, and the file that calls it."""
    for path in sorted(STORES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "failpoint":
                yield ast.literal_eval(node.args[0]), str(path.relative_to(ROOT))


def test_exactly_the_listed_failpoints_are_called():
    assert {name for name, _ in failpoint_calls()} == set(FAILPOINTS)
    assert len(set(FAILPOINTS)) == len(FAILPOINTS)


def test_each_failpoint_is_called_in_the_module_it_names():
    misplaced = [
        (name, path)
        for name, path in failpoint_calls()
        if not path.startswith(PATHS.get(name.partition(":")[0], ()))
    ]

    assert misplaced == []


def test_only_the_failpoints_that_each_engine_has_are_called_twice():
    calls = Counter(name for name, _ in failpoint_calls())

    assert {name for name, count in calls.items() if count > 1} == {
        "upload:before_acknowledge",
        "download:before_channel_commit",
    }


class RemoveDryRuns(ast.NodeTransformer):
    """Removes the code of dry runs, whose transactions are rolled back."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if "is_dry" in ast.unparse(node.test) else self.generic_visit(node)


def is_chunk(node: ast.AST) -> bool:
    """Whether this is `with ….chunk(…):`, the transaction of a step."""
    return isinstance(node, ast.With) and any(
        ast.unparse(item.context_expr).partition("(")[0].endswith(".chunk") for item in node.items
    )


def is_report(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and REPORTING_CALL.fullmatch(ast.unparse(statement.value.func)) is not None
    )


def moves_rows(function: ast.FunctionDef) -> bool:
    """Whether a transaction of the function does more than report."""
    chunks = [node for node in ast.walk(function) if is_chunk(node)]
    return any(not is_report(statement) for chunk in chunks for statement in chunk.body)


def functions_that_move_rows(path: Path) -> Iterator[ast.FunctionDef]:
    tree = RemoveDryRuns().visit(ast.parse(path.read_text()))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and moves_rows(node):
            yield node


def test_every_function_that_moves_rows_has_a_failpoint():
    paths = {*STORES.rglob("*.py")} - {*INTEGRITY.rglob("*.py")} | {RECOVER}
    functions = {
        f"{path.relative_to(ROOT)}: {function.name}": ast.unparse(function)
        for path in paths
        for function in functions_that_move_rows(path)
    }

    assert "stores/pipeline/sales/statement_removal.py: remove_refused" in functions
    assert [name for name, source in functions.items() if "failpoint(" not in source] == []
