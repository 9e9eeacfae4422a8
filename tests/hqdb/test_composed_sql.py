"""Composed statements stand whole in files, and `print_sql` prints each of them."""

import ast
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import pytest
from django.db import transaction

from stores.hqdb.files import heading, load
from stores.hqdb.sql import fetch, run_sql
from stores.pipeline.sql_catalog import as_text, composed_statements
from tests.support.make import query

STORES = Path(__file__).parents[2] / "stores"
STATEMENTS = composed_statements()
IN_HQ = [statement for statement in STATEMENTS if not statement.is_for_channel]
IN_CHANNELS = [statement for statement in STATEMENTS if statement.is_for_channel]
# What a check looks for is any query; statements about deliveries are printed without a file.
OUTSIDE_FILES = {
    "integrity/checks.py",
    "integrity/reconcile.py",
    "convert/conflicts.py",
    "convert/removals.py",
}
MODULES = [
    path
    for path in sorted((STORES / "pipeline").rglob("*.py"))
    if "download" not in path.parts and "/".join(path.parts[-2:]) not in OUTSIDE_FILES
]
# What puts a name or a value into a statement, and no other part of one.
PLAIN = {"Identifier", "Literal", "identifiers"}
STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM)\b")


@pytest.fixture(scope="module")
def hq_database(django_db_setup, django_db_blocker) -> Iterator[None]:
    """HQ's database, in which nothing is left."""
    with django_db_blocker.unblock():
        yield


@pytest.mark.parametrize("statement", IN_HQ, ids=attrgetter("name"))
def test_hq_explains_every_statement(statement, hq_database):
    with transaction.atomic():
        for maker in statement.makers:
            run_sql(as_text(maker))
        assert fetch(f"EXPLAIN {statement.text()}")
        transaction.set_rollback(True)


@pytest.mark.parametrize("statement", IN_CHANNELS, ids=attrgetter("name"))
def test_a_channel_explains_what_is_run_there(statement, houston):
    assert query(houston, f"EXPLAIN {statement.text()}")


def test_every_file_is_printed():
    printed = {statement.file for statement in STATEMENTS if statement.file}
    assert statement_files() == printed


def test_every_file_tells_what_it_is():
    assert [path.name for path in sql_files() if not heading(path)] == []


def test_a_statement_is_loaded_without_its_heading(tmp_path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "find.sql").write_text(
        "-- Find it.\n--\n-- {x}: by it.\nSELECT {x}\n-- x\n"
    )

    assert load(str(tmp_path / "finder.py"), "find").string == "SELECT {x}\n-- x"
    assert heading(tmp_path / "sql" / "find.sql") == "-- Find it.\n--\n-- {x}: by it."


def test_every_name_is_printed_once():
    names = [statement.name for statement in STATEMENTS]
    assert sorted(set(names)) == sorted(names)


def test_a_part_belongs_to_a_statement(hq_database):
    texts = "\n".join(statement.text() for statement in STATEMENTS)
    parts = [path for path in sql_files() if path.name.startswith("_")]
    assert parts
    for path in parts:
        assert longest_plain_piece(path) in texts, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_statement_is_composed_outside_a_file(path):
    assert composed_in(path.read_text()) == []


def test_a_statement_of_two_functions_is_found():
    statement = 'sql.SQL("SELECT 1 FROM {table} WHERE {is_due}")'
    table = "table=sql.Identifier(name)"
    assert composed_in(f"run_sql({statement}.format({table}, is_due=due(name)))")
    assert composed_in(f"DUE = {statement}\nrun_sql(DUE.format({table}, is_due=due(name)))")
    assert composed_in(f"run_sql({statement}.format({table}, is_due=sql.Literal(True)))") == []
    assert composed_in('fetch(f"SELECT 1 FROM {table_of(kind)}")')
    assert composed_in('fetch(f"SELECT 1 FROM {TABLE}")') == []


def statement_files() -> set[Path]:
    return {path for path in sql_files() if not path.name.startswith("_")}


def sql_files() -> list[Path]:
    return [path for path in STORES.rglob("*.sql") if "migrations" not in path.parts]


def longest_plain_piece(path: Path) -> str:
    """What is printed as it stands: a piece of a line between holes and parameters."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("--")]
    pieces = re.split(r"[{][^}]*[}]|%\(\w+\)s|\n", "\n".join(lines))
    return max(pieces, key=len)


def composed_in(code: str) -> list[str]:
    """Statements of a module that are put together from what several functions give."""
    tree = ast.parse(code)
    texts = {
        target.id: text
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and (text := text_of(node.value))
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            words = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
            holes = [part.value for part in node.values if isinstance(part, ast.FormattedValue)]
            if STATEMENT.match(words) and any(isinstance(hole, ast.Call) for hole in holes):
                found.append(words)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "format"
        ):
            text = text_of(node.func.value) or texts.get(getattr(node.func.value, "id", ""), "")
            values = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg)]
            if STATEMENT.match(text) and not all(map(is_plain, values)):
                found.append(text)
    return found


def text_of(node: ast.expr) -> str:
    """The text of sql.SQL("…")."""
    if (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "SQL"
        and isinstance(node.args[0], ast.Constant)
    ):
        return str(node.args[0].value)
    return ""


def is_plain(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        name = getattr(value.func, "attr", getattr(value.func, "id", ""))
        return name in PLAIN
    return isinstance(value, ast.Attribute) and value.attr in ("identifier", "names")
