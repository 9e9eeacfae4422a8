"""The documents say what there is: commands, options, variables and reasons; their links lead."""

import re
from argparse import _SubParsersAction
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from stores.jobs.catalog import JOBS
from stores.models.reason import REASONS
from stores.models.run import RunStatus

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
COMMANDS = DOCS / "commands.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

OUR_COMMANDS = sorted(name for name, app in get_commands().items() if app == "stores")
# Read from the environment, or by one of the functions on top of it.
READ_BY_SETTINGS = re.compile(r"""\b(?:env\.\w+|switch|whole_number)\(\s*["'](\w+)["']""")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(
    r"(?<![\w./-])(?:bench|docs|portal|stores|templates|tests)/(?:[\w/-]+\.(?:py|md|sql)\b|[\w/]*/(?!\w))"
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def own_options(name):
    """The options that the command and its actions have beside Django's."""
    parser = load_command_class("stores", name).create_parser("manage.py", name)
    django_parser = BaseCommand().create_parser("manage.py", name)
    return options_of(parser) - options_of(django_parser)


def options_of(parser):
    """The options of a parser and of the parsers of its actions."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            options = options.union(*map(options_of, action.choices.values()))
    return options


def anchors(document):
    """The names under which the headings of a document can be reached."""
    for heading in HEADING.findall(FENCED.sub("", document.read_text())):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(document, title):
    """What a document says under a heading of the second level."""
    return document.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", OUR_COMMANDS)
def test_every_command_is_described_with_its_options(name):
    text = COMMANDS.read_text()
    assert f"\n### {name}\n" in text
    described = text.split(f"\n### {name}\n")[1].split("\n## ")[0].split("\n### ")[0]
    assert [option for option in own_options(name) if option not in described] == []


@pytest.mark.parametrize("name", OUR_COMMANDS)
def test_the_readme_names_every_command(name):
    assert re.search(rf"`{name}\b", README.read_text())


def test_no_command_is_described_that_is_not_there():
    described = re.findall(r"^### (\w+)$", COMMANDS.read_text(), re.MULTILINE)
    assert sorted(described) == OUR_COMMANDS


def test_every_reason_has_its_row_with_its_words():
    listed = section(DOCS / "reference.md", "Reasons")
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|", listed, re.MULTILINE)
    texts = {code: reason.text.removeprefix("{field}: ") for code, reason in REASONS.items()}
    assert rows == [(code, text[0].upper() + text[1:]) for code, text in texts.items()]


def test_every_state_of_a_run_has_its_row():
    listed = section(DOCS / "jobs.md", "States of a run")
    assert re.findall(r"^\| `(\w+)` \|", listed, re.MULTILINE) == RunStatus.values


@pytest.mark.parametrize("code", JOBS)
def test_every_job_is_described_with_its_names(code):
    text = section(DOCS / "jobs.md", "Jobs")
    assert [name for name in (code, *JOBS[code].names) if f"`{name}`" not in text] == []


def test_every_environment_variable_is_described():
    settings = (ROOT / "portal/settings.py").read_text()
    names = set(READ_BY_SETTINGS.findall(settings))
    assert {"DATABASE_URL", "REDIS_URL", "SYNCLINE_DATA_DIR", "SYNCLINE_PRODUCTION"} <= names
    text = section(DOCS / "reference.md", "Environment variables")
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for link in LINK.findall(FENCED.sub("", document.read_text())):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_that_are_named_exist(document):
    paths = PATH.findall(document.read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("folder", ["docs", "docs/adr"])
def test_every_page_can_be_found_from_the_readme(folder):
    index = ROOT / folder / "README.md"
    assert f"{folder}/README.md" in LINK.findall(README.read_text())
    pages = {page.name for page in index.parent.glob("*.md")} - {index.name}
    assert pages - set(LINK.findall(index.read_text())) == set()
