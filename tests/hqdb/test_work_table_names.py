"""Statements of the pipeline use the work tables that their functions are given, never by name."""

import ast
import re
from pathlib import Path

import pytest

STORES = Path(__file__).parents[2] / "stores"
FUNCTIONS = ("empty_table", "query_table", "session_table")
MODULES = [
    "pipeline/fence",
    "pipeline/upload",
    "pipeline/convert",
    "pipeline/sales",
    "pipeline/corrections",
    "pipeline/integrity",
    "pipeline/number_journal.py",
    "pipeline/fields_to_correct.py",
]
TABLE_IN_STATEMENT = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|USING|TABLE|ANALYZE|TRUNCATE)\s+(\w+)")


def python_files(module: str) -> list[Path]:
    """The file of a module, or all files of a package."""
    path = STORES / module
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def work_tables_of(path: Path) -> set[str]:
    """The names of the work tables that a file creates."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in FUNCTIONS:
            [name, *_] = node.args
            if isinstance(name, ast.Constant):
                names.add(name.value)
    return names


WORK_TABLES = {name for path in python_files(".") for name in work_tables_of(path)}


def strings_of(path: Path) -> list[str]:
    """The strings of a file, without its docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
    ]


def statements_of(module: str) -> list[tuple[str, str]]:
    """File and text of each string of a module, and of each SQL file beside it."""
    texts = [(path, text) for path in python_files(module) for text in strings_of(path)]
    texts += [(path, path.read_text()) for path in (STORES / module).rglob("*.sql")]
    return [(str(path.relative_to(STORES)), text) for path, text in texts]


def test_the_work_tables_are_found():
    assert WORK_TABLES


@pytest.mark.parametrize("module", MODULES)
def test_no_statement_names_a_work_table(module):
    named = [
        (file, table)
        for file, text in statements_of(module)
        for table in TABLE_IN_STATEMENT.findall(text)
        if table in WORK_TABLES
    ]

    assert named == []


@pytest.mark.parametrize("module", MODULES)
def test_no_statement_creates_a_temporary_table(module):
    creating = [file for file, text in statements_of(module) if re.search(r"CREATE\s+TEMP", text)]

    assert creating == []
