"""What no browser sends: every address, parameter, form field and cookie with odd values.

Which names a page reads is found out by asking it, so a new field is tried without a change here.
SYNCLINE_FUZZ_SEED and SYNCLINE_FUZZ_REQUESTS try others, and more of them.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `reader` is a client of a user who may see every page; `boss` is a
client of an administrator; `people` has Ann with an account, Bo who is pending, and Cy in
quarantine.
"""

import io
import os
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import cycle
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpHeaders, QueryDict
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from portal.wsgi import application
from stores.messages.message import Message
from stores.models import (
    Customer,
    DownloadSession,
    EditConflict,
    Incident,
    JobRun,
    Quarantine,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.models.job import JobCode
from tests.support.make import make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SYNCLINE_FUZZ_SEED", "20261129"))
REQUESTS = int(os.environ.get("SYNCLINE_FUZZ_REQUESTS", "500"))
ODD = [
    "",
    " ",
    "\0",
    "a\0b",
    "\0:a:b:c",
    "a:b:c:\0",
    "//x",
    "../../admin/",
    "_00",
    "-1",
    "0",
    "2147483648",
    "9223372036854775808",
    "9" * 30,
    "9" * 5000,
    "1e999",
    "NaN",
    "sNaN",
    "Infinity",
    "-0.00000000000000000000000001",
    "0001-01-01",
    "9999-12-31",
    "99999-12-31",
    "2026-02-30",
    "23:59:60",
    "0001-01-01T00:00:00+23:59~00000000-0000-4000-8000-000000000000",
    "9999-12-31T23:59:59-23:59~1",
    "9" * 30 + "~x",
    "2026-01-01T00:00:00~~",
    "true",
    "null",
    "[]",
    '{"a": {"b": [1]}}',
    "[" * 3000,
    "'\"<>;--%s%(x)s{}\\",
    "\u200b",
    "\u202e\u0645\u0631\u062d\u0628\u0627",
    "\u6f22\u5b57" * 200,
    "\U0001f9fe",
    "e\u0301\ufeff",
    "x" * 20_000,
    "a:b:c:d",
    "houston:async_customer:too_long:first_name",
    "csv",
    "-name",
    "http://[",
    "\r\nSet-Cookie: a=b",
    "00000000-0000-4000-8000-000000000000",
    "{00000000-0000-4000-8000-000000000000",
    # Percent signs are left alone: bytes that are no UTF-8.
    "%ff%fe",
    "%ed%a0%80",
    "%c0%80",
]
# Signing out would end the others' session; a changed password does too.
LEFT_ALONE = {"sign-out", "logout", "password_change"}


@pytest.fixture
def world(houston, seattle) -> dict[str, Any]:
    """Something of everything that has a page of its own, by the parameter of its address."""
    ann = make_customer(houston, "Ann", email="ann@example.com", phone="111 111")
    make_event("address", houston, async_account=ann)
    run("pipeline")
    whole = {"operation": "update", "first_name": "Ann", "async_account": ann}
    make_event("customer", seattle, **whole, phone="222 222")
    run("pipeline", channels=["seattle"])
    far = timezone.now() + timedelta(days=365)
    make_event("customer", houston, **whole, phone="333 333", occurred_at=far)
    run(JobCode.UPLOAD)
    run("sync-customers")
    make_event("customer", houston, async_account=uuid4(), first_name="C" * 61)
    make_event("contact", houston, async_account=uuid4())
    make_sale(houston, async_account=ann)
    make_sale(houston, transaction_type="layaway")
    run("eod")
    make_sale(houston, net_amount="11.00")
    run(JobCode.UPLOAD)
    run("validate")
    Incident.objects.report(
        "schema_drift", Message("quoted", text="A trigger is missing."), subject="houston"
    )
    aside = Quarantine.objects.order_by("pk")
    pks = {
        model: list(model.objects.order_by("pk").values_list("pk", flat=True)[:3])
        for model in (RetailTransaction, SalesOrder, Statement, Incident, EditConflict, JobRun)
    }
    assert all(pks.values())
    assert aside.filter(table="retail_transaction").exists()
    return {
        "ref": [str(ann), "ann@example.com"],
        "account": list(Customer.objects.values_list("account_number", flat=True)[:2]),
        "case": [str(pk) for pk in aside.values_list("pk", flat=True)],
        "code": ["houston"],
        "token": ["x"],
        "session": list(DownloadSession.objects.values_list("pk", flat=True)[:3]),
        "by_route": {
            "conflict": pks[EditConflict],
            "close-conflict": pks[EditConflict],
            "incident": pks[Incident],
            "close-incident": pks[Incident],
            "transaction": pks[RetailTransaction],
            "correct-transaction": pks[RetailTransaction][::-1],
            "let-go": pks[RetailTransaction],
            "order": pks[SalesOrder],
            "release-order": pks[SalesOrder],
            "statement": pks[Statement],
            "run": pks[JobRun],
            "cancel-run": pks[JobRun],
        },
    }


def routes(
    patterns: Any = None, before: str = "", model: Any = None
) -> Iterator[tuple[str, str, Any]]:
    """Name, pattern and admin's model of every route, those of the set-up pages included."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(one, URLResolver):
            yield from routes(one.url_patterns, before + str(one.pattern))
        elif isinstance(one, URLPattern):
            owner = getattr(getattr(one.callback, "model_admin", None), "model", None)
            yield one.name or "", before + str(one.pattern), owner


def addresses(world: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The pattern of every route, with addresses that it answers."""
    for name, pattern, model in routes():
        if name in LEFT_ALONE or "(?P<" in pattern:
            continue
        holes = re.findall(r"<(?:\w+:)?(\w+)>", pattern)
        choices = world["by_route"].get(name)
        if model is not None:
            row = model._default_manager.order_by("pk").first()
            choices = [row.pk if row else 1]
        values = {hole: (choices or world.get(hole) or [1])[:2] for hole in holes}
        for place in range(max(map(len, values.values()), default=1)):
            path = pattern
            for hole, found in values.items():
                chosen = str(found[min(place, len(found) - 1)])
                path = re.sub(rf"<(?:\w+:)?{hole}>", lambda _, it=chosen: quote(it), path)
            yield "/" + pattern, "/" + path


@contextmanager
def noted() -> Iterator[set[str]]:
    """The names that are read from queries and forms meanwhile."""
    names: set[str] = set()

    def noting(method: Any) -> Any:
        def read(self: QueryDict, key: Any, *rest: Any) -> Any:
            if isinstance(key, str):
                names.add(key)
            return method(self, key, *rest)

        return read

    with pytest.MonkeyPatch.context() as patch:
        for method in ("__getitem__", "__contains__", "get", "getlist"):
            patch.setattr(QueryDict, method, noting(getattr(QueryDict, method)), raising=False)
        yield names


def coded(value: str) -> str:
    """A value in an address; one that has percent signs is coded already."""
    return value if re.match("%[0-9a-f]{2}", value) else quote(value, safe="")


def body(values: dict[str, str]) -> str:
    return "&".join(f"{quote(name, safe='')}={coded(value)}" for name, value in values.items())


FORM = "application/x-www-form-urlencoded"


class Asker:
    """A signed-in client that notes every answer of 5xx and whatever was raised."""

    def __init__(self) -> None:
        # The user whom odd forms may change or remove is the first one, and nobody's session.
        User.objects.create_user("first")
        self.client = Client(raise_request_exception=False)
        self.client.force_login(User.objects.create_superuser("boss"))
        self.asked, self.wrong = 0, []

    def ask(self, method: str, path: str, /, **form: str) -> None:
        self.asked += 1
        try:
            if method == "GET":
                answer = self.client.get(f"{path}?{body(form)}" if form else path)
            else:
                answer = self.client.post(path, body(form), content_type=FORM)
            getattr(answer, "getvalue", bytes)()
            status = str(answer.status_code)
        except Exception as raised:
            # What an answer raises while it is streamed is found, too.
            status = f"{type(raised).__name__}: {raised}"
        if not status.startswith(("2", "3", "4")):
            told = {name: value[:40] for name, value in form.items()}
            self.wrong.append(f"{status} {method} {path[:100]!r} {told}")


@pytest.mark.finding(id="S6")
def test_no_odd_request_causes_a_server_error(world):
    chance = random.Random(SEED)  # noqa: S311 - repeatable on purpose
    asker = Asker()
    tries: list[tuple[str, str, dict[str, str]]] = []
    odd = cycle(chance.sample(ODD, len(ODD)))
    for pattern, path in addresses(world):
        for hole in re.findall(r"<[^>]+>", pattern):
            for _ in range(3):
                tries.append(("GET", path_with(pattern, hole, next(odd)), {}))
            tries.append(("POST", path_with(pattern, hole, next(odd)), {}))
        for method in ("GET", "POST"):
            with noted() as names:
                asker.ask(method, path, x="1")
            known = sorted(names - {"x", "csrfmiddlewaretoken"})
            for one in known:
                for _ in range(2):
                    tries.append((method, path, {one: next(odd)}))
            for _ in range(3 if known else 0):
                several = {one: next(odd) for one in known if chance.random() < 0.8}
                tries.append((method, path, several))
    chance.shuffle(tries)
    for method, path, form in tries[:REQUESTS]:
        asker.ask(method, path, **form)

    assert not asker.wrong, "\n".join(asker.wrong)
    assert asker.client.get("/").status_code == 200


def path_with(pattern: str, hole: str, value: str) -> str:
    """The address with a value in one hole, and something in the others."""
    path = pattern.replace(hole, coded(value))
    return re.sub(r"<[^>]+>", "1", path)


COOKIES = [
    'sessionid="aaaaaaaa\\000"',
    'sessionid="\\377\\376"',
    "sessionid=" + "x" * 4000,
    "sessionid=\xe6\xbc",
    'csrftoken="\\000"; sessionid=""',
    'messages="\\000"; sessionid="a',
    "messages=W1tdXQ:x:y",
    "=; ;;; =a; sessionid",
]


@pytest.mark.finding(id="S6")
@pytest.mark.parametrize("cookie", COOKIES)
def test_a_broken_cookie_leads_to_the_sign_in(hq, cookie):
    stranger = Client(raise_request_exception=False)
    for path in ("/", "/sign-in/", "/admin/"):
        answer = stranger.get(path, headers={"Cookie": cookie})

        assert answer.status_code == (200 if path == "/sign-in/" else 302), path


@pytest.mark.finding(id="S6")
def test_a_broken_cookie_beside_the_session_s_ends_no_session(reader):
    cookie = f'other="\\000"; sessionid={reader.cookies["sessionid"].value}'

    assert reader.get("/", headers={"Cookie": cookie}).status_code == 200


HEADERS = [
    {"Referer": "http://["},
    {"Referer": "\\\\x\\y"},
    {"Host": "a b"},
    {"Host": "[::1"},
    {"HX-Request": "true", "HX-Current-URL": "http://["},
    {"HX-Request": "true", "HX-Current-URL-URI-AutoEncoded": "true", "HX-Current-URL": "%ff"},
    {"Accept": "%%%;q=x"},
    {"Content-Type": "text/plain; charset=rot13"},
    {"Content-Type": "text/plain; charset=idna"},
    {"Content-Type": "text/plain; charset=utf-16"},
    {"Content-Type": "text/plain; charset=\0"},
    {"Content-Type": "text/plain; charset*=rot13''a"},
    {"X-Forwarded-Proto": "\xe6"},
    {"Authorization": "Basic ="},
]
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n--x--\r\n'
BODIES = [
    (f"{URLENCODED}; charset=rot13", b"reason=a"),
    (f"{URLENCODED}; charset=utf-16", b"reason=a"),
    (URLENCODED, b"reason=%ff"),
    (URLENCODED, b"reason=\xff"),
    (URLENCODED, b"reason=a%00"),
    (URLENCODED, b"%00=a"),
    (URLENCODED, b"a=1&" * 1_500),
    (MULTIPART, b'--x\r\nContent-Disposition: form-data; name="a"\r\n'),
    (MULTIPART, PART % (b"reason", b"\0")),
    (MULTIPART, PART % (b"\xff", b"\xff")),
    (MULTIPART, PART % (b'f"; filename="\0', b"a")),
    (f"{MULTIPART}; charset=idna", b"--x--"),
    ("multipart/form-data", b"--x--"),
    ("multipart/form-data; boundary=\xc3\xa9", b"--x--"),
    ("application/json", b"{"),
    ("", b"\0"),
]


def status_of(method: str, url: str, cookie: str, kind: str, sent: bytes, headers: Any) -> int:
    """What the portal answers a web server, which hands over headers as they came."""
    path, _, query = url.partition("?")
    environ = RequestFactory()._base_environ(
        PATH_INFO=unquote(path), QUERY_STRING=query, REQUEST_METHOD=method, HTTP_COOKIE=cookie
    )
    if method == "POST":
        environ |= {"wsgi.input": io.BytesIO(sent), "CONTENT_LENGTH": str(len(sent))}
    environ["CONTENT_TYPE"] = kind
    environ |= HttpHeaders.to_wsgi_names(headers)
    told: list[str] = []
    answer = application(environ, lambda status, _: told.append(status))
    getattr(answer, "close", list)()
    return int(told[0].partition(" ")[0])


ODD_PARTS = [*((URLENCODED, b"reason=a", one) for one in HEADERS), *((*one, {}) for one in BODIES)]


@pytest.mark.finding(id="S6")
@pytest.mark.parametrize(("kind", "sent", "headers"), ODD_PARTS)
def test_no_header_or_body_causes_a_server_error(boss, kind, sent, headers):
    mine = f"sessionid={boss.cookies['sessionid'].value}"
    for cookie in (mine, ""):
        for url in ("/customers/?q=%c3%a9", f"/?{'a=1&' * 1_100}", "/sign-in/?next=http://["):
            assert status_of("GET", url, cookie, kind, sent, headers) < 500, url
        for url in ("/incidents/1/close/", "/quarantine/dismiss/", "/runs/start/", "/sign-in/"):
            assert status_of("POST", url, cookie, kind, sent, headers) < 500, url


@pytest.mark.finding(id="P17")
def test_a_refusal_names_the_field_and_says_what_is_wrong(boss):
    in_a_form = boss.post("/quarantine/dismiss/", {"case": "1", "reason": "a\0b"})
    in_a_query = boss.get("/customers/C-000001/?company=%00")
    no_utf8 = boss.get("/customers/?q=%ff")

    for answer, told in (
        (in_a_form, "The field reason of the form contains a NUL character"),
        (in_a_query, "The field company of the query contains a NUL character"),
        (no_utf8, "The query is not valid UTF-8."),
    ):
        assert answer.status_code == 400
        assert told in answer.content.decode()


@pytest.mark.finding(id="P17")
@pytest.mark.parametrize(
    "path",
    [
        "/quarantine/%00/",
        "/quarantine/a%00b/correct/",
        "/customers/a%00b/",
        "/trace/a%00/",
    ],
)
def test_an_address_with_nul_is_not_there(boss, path):
    assert boss.get(path).status_code == 404


FAR = ["0001-01-01", "9999-12-31", "1000-01-01"]
DATED = [
    "/async-customers/",
    "/runs/",
    "/sessions/uploads/",
    "/sessions/downloads/",
    "/quarantine/",
    "/balance/",
    "/conflicts/",
    "/transactions/",
    "/statements/",
]


@pytest.mark.finding(id="S6")
def test_the_first_and_last_possible_days_are_accepted(reader, people, subtests):
    for path in DATED:
        with subtests.test(path):
            everything = reader.get(path).context["table"].paginator.count

            for day in FAR:
                answer = reader.get(path, {"since": day, "until": day})
                assert answer.status_code == 200
                assert not answer.context["filters"].form.errors
            upto = reader.get(path, {"until": "9999-12-31"}).context["table"].paginator.count
            assert upto == everything


@pytest.mark.finding(id="S6")
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_place_beyond_all_times_is_the_first_page(reader, people, moment):
    answer = reader.get("/async-customers/", {"after": f"{moment}~{people['Ann']}"})

    assert answer.context["table"].page.number == 1


@pytest.mark.finding(id="V14e")
def test_while_postgresql_is_away_pages_say_when_to_ask_again(reader, tmp_path):
    """Really away: nothing listens where HQ's database is said to be."""
    stranger = Client(raise_request_exception=False)
    reader.raise_request_exception = False
    host = connection.settings_dict["HOST"]
    connection.close()
    connection.settings_dict["HOST"] = str(tmp_path)
    try:
        answers = [
            *(reader.get(path) for path in ("/", "/customers/", "/admin/")),
            reader.post("/runs/start/", {"job": "pipeline"}),
            stranger.post("/sign-in/", {"username": "ann", "password": "x"}),
        ]
        alive = stranger.get("/healthz")
    finally:
        connection.close()
        connection.settings_dict["HOST"] = host

    for answer in answers:
        assert (answer.status_code, answer["Retry-After"]) == (503, "30")
        assert "Nothing is lost" in answer.content.decode()
    assert alive.status_code == 200
    assert reader.get("/").status_code == 200


@pytest.mark.finding(id="V14e")
def test_what_is_no_trouble_of_the_database_stays_a_500(reader, monkeypatch):
    reader.raise_request_exception = False
    monkeypatch.delattr("stores.web.views.overview.pipeline_counts")

    answer = reader.get("/")

    assert answer.status_code == 500
    assert b"The error has been logged" in answer.content
