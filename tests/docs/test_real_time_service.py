"""What docs/real-time-service.md tells people who write tills is true: its calls run as printed.

From conftest.py: `houston` is a store on PostgreSQL, whose company's first account is 005001.
"""

import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from stores.models.job import JobCode
from stores.rts.errors import BY_STATUS
from stores.rts.tokens import make_token
from tests.support.make import run

PAGE = Path(__file__).parents[2] / "docs/real-time-service.md"
# A call of curl, and the JSON that the page shows below it.
EXAMPLE = re.compile(r"```\n(curl .*?)```\n\n```json\n(.*?)```", re.DOTALL)
HOST = "https://syncline.example.com"


def call(command: str, token: str) -> Any:
    """Send the request of a call of curl to the service."""
    words = shlex.split(command.replace("$TOKEN", token))
    assert words[0] == "curl"
    url, headers, data = "", {}, None
    for option, value in pairwise(words):
        if option == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        elif option == "-d":
            data = value
        elif value.startswith(HOST):
            url = value.removeprefix(HOST)
    if data is None:
        return Client().get(url, headers=headers)
    return Client().post(url, data, headers.pop("Content-Type"), headers=headers)


@pytest.mark.slow
def test_the_calls_on_the_page_have_the_answers_on_the_page(houston):
    run(JobCode.UPLOAD)
    _, token = make_token(houston.channel)
    examples = EXAMPLE.findall(PAGE.read_text())

    responses = [call(command, token) for command, _ in examples]

    assert [response.status_code for response in responses] == [201, 200, 422]
    assert [response.json() for response in responses] == [
        json.loads(answer) for _, answer in examples
    ]


def test_the_page_lists_every_code_of_an_error():
    sources = (Path(__file__).parents[2] / "stores/rts").glob("*.py")
    text = " ".join(path.read_text() for path in sources)
    raised = re.findall(
        r'(?:ServiceError\(\s*\d+,|unavailable\(|conflict\(|unauthorized\()\s*"(\w+)"', text
    )
    # Only a bug would have Django refuse a call with this one.
    codes = {*raised, *(code for code, _ in BY_STATUS.values())} - {"forbidden"}

    page = PAGE.read_text()
    assert len(codes) > 20
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
