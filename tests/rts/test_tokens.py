"""A token lets the tills of one channel in, until it expires or is revoked.

From conftest.py: `houston_till` is a till of a store on PostgreSQL, `houston`; `call` calls a
command; `boss` is a client in which an administrator is signed in, `hq_user` another user.
"""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from stores.models import Channel, RtsToken
from stores.rts.tokens import TokenRefused, make_token, revoke_token
from tests.support.concurrency import run_together
from tests.support.rts import Till, code_of, new_event

pytestmark = pytest.mark.slow

GUID = new_event()["async_account"]


def look_up(till: Till, **headers: Any) -> tuple[int, str]:
    return code_of(till.get(GUID, **headers))


LET_IN = (404, "unknown_guid")


def test_only_a_digest_of_the_secret_is_stored(houston_till):
    secret = houston_till.token.partition(".")[2]

    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(t)::text FROM rts_token t")
        [(row,)] = cursor.fetchall()

    assert len(secret) == 43
    assert secret not in row


WRONG_HEADERS = [
    "",
    "Bearer",
    "Bearer {id}.",
    "Bearer {id}." + "x" * 43,
    "Bearer {id}.{secret}x",
    "Bearer {id}.{short}",
    "Bearer {id}.{secret}, Bearer {id}.{secret}",
    "Basic {id}.{secret}",
    "Bearer 0000000000000000.{secret}",
    "{id}.{secret}",
    "Bearer é{id}.{secret}",
]


@pytest.mark.scenario(id="G1")
def test_a_wrong_token_is_refused_always_in_the_same_words(houston_till, client, caplog, subtests):
    token_id, _, secret = houston_till.token.partition(".")
    for form in WRONG_HEADERS:
        with subtests.test(form):
            header = form.format(id=token_id, secret=secret, short=secret[:-1])

            url = f"/rts/v1/accounts/{GUID}?token={secret}"
            response = client.get(url, HTTP_AUTHORIZATION=header)

            assert code_of(response) == (401, "unauthorized")
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert response.json()["message"] == (
                "A valid token is required: Authorization: Bearer …"
            )
    assert secret not in caplog.text


def test_a_revoked_or_expired_token_is_refused_at_its_next_call(houston_till, houston):
    expired = Till.of(houston, days=1)
    assert look_up(houston_till) == LET_IN
    revoke_token(houston_till.row)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rts_token DISABLE TRIGGER USER")
        RtsToken.objects.filter(pk=expired.row.pk).update(
            made_at=timezone.now() - timedelta(days=2),
            expires_at=timezone.now() - timedelta(days=1),
        )
        cursor.execute("ALTER TABLE rts_token ENABLE TRIGGER USER")

    assert look_up(houston_till) == (401, "token_revoked")
    assert look_up(expired) == (401, "token_expired")
    assert RtsToken.objects.get(pk=expired.row.pk).last_refusal == "token_expired"
    with pytest.raises(TokenRefused, match="already revoked"):
        revoke_token(houston_till.row)


def test_two_tokens_of_a_channel_are_valid_at_once(houston_till, houston):
    assert look_up(Till.of(houston)) == look_up(houston_till) == LET_IN


def test_the_token_of_a_channel_that_is_switched_off_is_refused(houston_till):
    Channel.objects.update(is_enabled=False)

    assert look_up(houston_till) == (403, "channel_off")


def test_a_token_is_used_from_its_networks_only(houston):
    till = Till.of(houston, networks=["10.1.0.0/16", "2001:db8::/32"])

    allowed = [
        look_up(till, REMOTE_ADDR=address)
        for address in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1")
    ]
    refused = [look_up(till, REMOTE_ADDR=address) for address in ("10.2.0.1", "::1", "")]
    forged = look_up(till, HTTP_X_FORWARDED_FOR="10.1.2.3")

    assert allowed == [LET_IN] * 3
    assert refused == [(403, "address_not_allowed")] * 3
    assert forged == (403, "address_not_allowed")
    assert RtsToken.objects.get().last_used_from == "2001:db8::1"


def test_only_a_proxy_of_ours_says_for_whom_it_calls(houston):
    till = Till.of(houston, networks=["10.1.0.0/16"])

    with override_settings(TRUSTED_PROXIES=["127.0.0.1"]):
        for_a_till = look_up(till, HTTP_X_FORWARDED_FOR="8.8.8.8, 10.1.2.3")
        forged = look_up(till, HTTP_X_FORWARDED_FOR="10.1.2.3, 8.8.8.8")
        malformed = look_up(till, HTTP_X_FORWARDED_FOR="10.1.2.3, unknown")

    assert for_a_till == LET_IN
    assert forged == malformed == (403, "address_not_allowed")


def test_a_token_has_so_many_calls_in_a_minute_whoever_counts_them(houston):
    till = Till.of(houston, calls_per_minute=5)
    with connection.cursor() as cursor:
        # Lest a minute ends between the calls.
        cursor.execute("SELECT pg_sleep(3) WHERE extract(second FROM clock_timestamp()) > 57")

    codes = run_together(*[lambda: look_up(till)] * 8)
    response = till.get(GUID)

    assert sorted(codes) == [LET_IN] * 5 + [(429, "too_many_calls")] * 3
    assert 0 < int(response.headers["Retry-After"]) <= 60
    RtsToken.objects.update(minute=timezone.now() - timedelta(minutes=2))
    assert look_up(till) == LET_IN


# ---------------------------------------------------------------------- command and page


def test_the_command_prints_a_token_once(houston, command):
    document = json.loads(command("rts_token", "houston", "--days", "30", "--json"))

    token = RtsToken.objects.get()
    assert list(document) == ["token"]
    assert document["token"].startswith(f"{token.pk}.")
    assert token.expires_at.date() == (timezone.now() + timedelta(days=30)).date()
    assert document["token"] not in command("rts_token", "houston", "--list", "--json")


def test_the_command_lists_and_revokes_tokens(houston, hq_user, command):
    command("rts_token", "houston", "--network", "10.1.0.0/16", "10.2.0.1", "--user", "robin")
    token = RtsToken.objects.get()

    command("rts_token", "houston", "--revoke", token.pk, "--user", "robin")
    [listed] = json.loads(command("rts_token", "houston", "--list", "--json"))["tokens"]

    assert (listed["id"], listed["status"]) == (token.pk, "revoked")
    assert (listed["made_by"], listed["revoked_by"]) == ("robin", "robin")
    assert listed["networks"] == ["10.1.0.0/16", "10.2.0.1/32"]
    with pytest.raises(CommandError, match="already revoked") as refusal:
        call_command("rts_token", "houston", "--revoke", token.pk)
    assert refusal.value.returncode == 1


WRONG_ARGUMENTS = [
    ("dallas",),
    ("houston", "--days", "0"),
    ("houston", "--days", "4000"),
    ("houston", "--network", "10.1.0.1/16"),
    ("houston", "--network", "everywhere"),
    ("houston", "--revoke", "0000000000000000"),
    ("houston", "--user", "nobody"),
    ("houston", "--calls-per-minute", "x"),
]


def test_wrong_arguments_make_no_token(houston, subtests):
    for words in WRONG_ARGUMENTS:
        with subtests.test(" ".join(words)):
            with pytest.raises(CommandError) as refusal:
                call_command("rts_token", *words)

            assert refusal.value.returncode == 2
    assert not RtsToken.objects.exists()


def test_an_administrator_makes_and_revokes_tokens_on_the_page_of_the_channel(houston, boss):
    made = boss.post(
        "/channels/houston/tokens/",
        {"days": "30", "networks": "10.1.0.0/16, 127.0.0.1", "calls_per_minute": "60"},
    )
    [text] = set(re.findall(r"[0-9a-f]{16}\.[\w-]{43}", made.content.decode()))
    till = Till(text)
    assert look_up(till) == LET_IN
    listed = boss.get("/channels/houston/tokens/").content.decode()
    token = RtsToken.objects.get()

    revoked = boss.post("/channels/houston/tokens/", {"revoke": token.pk}, follow=True)

    assert "no-store" in made.headers["Cache-Control"]
    assert text.partition(".")[2] not in listed
    assert "from 127.0.0.1" in " ".join(listed.split())
    assert f"Token {token.pk} is revoked" in revoked.content.decode()
    assert look_up(till) == (401, "token_revoked")
    boss_user = User.objects.get(username="boss")
    token.refresh_from_db()
    assert (token.made_by, token.revoked_by) == (boss_user, boss_user)


WRONG_VALUES = [
    ("days", "0", "greater than or equal to 1"),
    ("networks", "10.1.0.1/16", "is not a network such as 10.1.0.0/16."),
    ("calls_per_minute", "", "This field is required."),
]


def test_a_wrong_value_on_the_page_makes_no_token(houston, boss, subtests):
    for field, value, sentence in WRONG_VALUES:
        with subtests.test(field):
            fields = {"days": "30", "networks": "", "calls_per_minute": "60"} | {field: value}
            response = boss.post("/channels/houston/tokens/", fields)

            assert sentence in response.content.decode()
    assert not RtsToken.objects.exists()


def test_a_token_of_another_channel_is_not_revoked_there(houston, seattle, boss):
    token, _ = make_token(seattle.channel)

    assert boss.post("/channels/houston/tokens/", {"revoke": token.pk}).status_code == 404
    assert RtsToken.objects.get().status == "active"
