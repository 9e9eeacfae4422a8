"""The first start: `.venv` is made once, mended when needed, and nothing else is written to.

A small project stands in for Syncline: the same manage.py and portal/embedded, and a pytest of its
own that only tells who runs it. So pip needs no network.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from portal.embedded import bootstrap

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "syncline"
version = "0.1.0"
dependencies = []

[project.optional-dependencies]
embedded = []
test = ["pytest>=900"]
dev = []
"""
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "syncline-0.1.0-py3-none-any.whl", "syncline-0.1.0.dist-info/"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        extras = "Provides-Extra: test\\nRequires-Dist: pytest>=900; extra == 'test'\\n"
        extras += "Provides-Extra: dev\\nProvides-Extra: embedded\\n"
        head = "Metadata-Version: 2.1\\nName: syncline\\nVersion: 0.1.0\\n"
        wheel.writestr(info + "METADATA", head + extras)
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
# Debian's own Python: it makes environments, but cannot put pip into them.
NO_ENSUREPIP = 'import sys; sys.modules["ensurepip"] = None'
NO_VENV = 'import sys; sys.modules["venv"] = None'


class Project:
    """A checkout of the stand-in, and the computer it is on."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a check out"
        self.home = folder / "home"
        self.site = folder / "site"
        self.wheels = folder / "wheels"
        for made in (self.root, self.home, self.site, self.wheels):
            made.mkdir(parents=True)
        shutil.copy(ROOT / "manage.py", self.root)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "portal/embedded", self.root / "portal/embedded", ignore=ignored)
        (self.root / "portal/__init__.py").touch()
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        (self.root / "constraints.txt").write_text("pytest==900.1\n")
        (self.root / "backend.py").write_text(BACKEND)
        self.pretend(NO_ENSUREPIP)
        self.publish("900.1")

    def pretend(self, sitecustomize: str) -> None:
        (self.site / "sitecustomize.py").write_text(sitecustomize)

    def publish(self, version: str) -> None:
        info = f"pytest-{version}.dist-info/"
        with zipfile.ZipFile(self.wheels / f"pytest-{version}-py3-none-any.whl", "w") as wheel:
            tell = "import json, sys; print(json.dumps([sys.prefix, sys.argv[1:]]))"
            wheel.writestr("pytest/__main__.py", tell)
            head = f"Metadata-Version: 2.1\nName: pytest\nVersion: {version}\n"
            wheel.writestr(info + "METADATA", head)
            wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
            wheel.writestr(info + "RECORD", "")

    def manage(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "PYTHONPATH": str(self.site),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }
        return subprocess.run(
            [base_python(), str(self.root / "manage.py"), *words],
            env=environ,
            cwd=cwd or self.home,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def stamp(self) -> Path:
        return self.root / ".venv/installed"


def base_python() -> str:
    return str(getattr(sys, "_base_executable", sys.executable))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    ask = [base_python(), "-m", "pip", "--version"]
    if subprocess.run(ask, capture_output=True, check=False).returncode:
        pytest.skip("the Python beneath this one has no pip")
    return Project(tmp_path)


def test_first_start_fills_venv_and_the_second_only_uses_it(project: Project) -> None:
    first = project.manage("test", "-k", "two words")
    second = project.manage("test")

    assert json.loads(first.stdout) == [str(project.root / ".venv"), ["-k", "two words"]]
    assert "Installing the packages" in first.stderr
    assert json.loads(second.stdout) == [str(project.root / ".venv"), []]
    assert second.stderr == ""
    assert json.loads(project.stamp.read_text())["extras"] == ["dev", "embedded", "test"]
    assert not any(path.name.startswith("pytest") for path in project.home.rglob("*"))


def test_changed_constraints_are_installed_at_the_next_start(project: Project) -> None:
    project.manage("test")
    kept = project.root / ".venv/kept"
    kept.touch()
    project.publish("900.2")
    (project.root / "constraints.txt").write_text("pytest==900.2\n")

    answer = project.manage("test")

    assert answer.returncode == 0
    assert list(project.root.glob(".venv/lib/*/site-packages/pytest-900.2.dist-info"))
    assert kept.exists()


def test_half_a_venv_is_made_anew(project: Project) -> None:
    rubbish = project.root / ".venv/rubbish"
    rubbish.parent.mkdir()
    rubbish.touch()

    answer = project.manage("test")

    assert answer.returncode == 0
    assert project.stamp.exists()
    assert not rubbish.exists()


def test_two_first_starts_at_once_fill_venv_once(project: Project) -> None:
    words = [base_python(), str(project.root / "manage.py"), "test"]
    environ = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project.wheels)}
    environ |= {"PYTHONPATH": str(project.site), "HOME": str(project.home)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    starts = [subprocess.Popen(words, env=environ, text=True, **pipes) for _ in range(2)]

    answers = [start.communicate() for start in starts]

    assert [json.loads(out)[0] for out, _ in answers] == [str(project.root / ".venv")] * 2
    assert sum("Making .venv" in err for _, err in answers) == 1


def test_a_path_is_meant_from_where_the_person_stands(project: Project) -> None:
    project.manage("test")
    here = project.root / "tests"
    here.mkdir()
    (here / "test_one.py").touch()

    answer = project.manage("test", "test_one.py::test_it", "-q", cwd=here)

    assert json.loads(answer.stdout)[1] == [f"{here}/test_one.py::test_it", "-q"]


def test_python_without_venv_is_told_in_one_sentence(project: Project) -> None:
    project.pretend(NO_VENV)

    answer = project.manage("test")

    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        "This Python has no venv module: install it (Debian: apt-get install python3-venv) "
        "and start again"
    ]


def test_failed_install_leaves_no_stamp_and_says_so(project: Project) -> None:
    for wheel in project.wheels.iterdir():
        wheel.unlink()

    answer = project.manage("test")

    assert answer.returncode == 1
    assert answer.stderr.endswith("The packages could not be installed; pip says why above\n")
    assert "Traceback" not in answer.stderr
    assert not project.stamp.exists()


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        ("5.2.19", ">=5.2.19,<6", True),
        ("6.0", ">=5.2.19,<6", False),
        ("5.2", ">=5.2.0", True),
        ("9.1.2.post2", ">=9.1.2.post2", True),
        ("9.1.2.post1", ">=9.1.2.post2", False),
        ("3.0", "==3.0.0", True),
        ("3.0.1", "==3.0.0", False),
        ("1", "", True),
    ],
)
def test_versions_are_compared_by_their_numbers(
    found: str, wanted: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: found)

    assert bootstrap.is_installed("anything", wanted) is fits


def test_this_environment_has_what_the_tests_need() -> None:
    assert list(bootstrap.unsatisfied(ROOT, ["embedded", "test", "dev"])) == []
