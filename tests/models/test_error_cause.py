"""The cause of a database's last error follows from the code of its sentence."""

import pytest

from stores.channeldb.check import FAILED_STEPS
from stores.channeldb.connect.connection import CAUSES_BY_WORDS, ERRORS_BY_CODE
from stores.messages.message import EMPTY, Message
from stores.models.error_cause import CAUSES, PASSING, ErrorCause, cause_of


def test_everything_that_a_visit_recognises_has_a_cause():
    recognised = {code for _, code in ERRORS_BY_CODE.values()}
    recognised |= {code for _, (_, code) in CAUSES_BY_WORDS}

    assert recognised | FAILED_STEPS.keys() <= CAUSES.keys()
    assert set(CAUSES.values()) == set(ErrorCause)


@pytest.mark.parametrize(
    ("code", "cause", "is_passing"),
    [
        ("channel_nothing_listens", ErrorCause.CONNECTION_REFUSED, True),
        ("channel_name_unknown", ErrorCause.NAME_UNKNOWN, True),
        ("channel_too_slow", ErrorCause.TIMEOUT, True),
        ("channel_password_refused", ErrorCause.PASSWORD, False),
        ("channel_file_gone", ErrorCause.FILE_MISSING, False),
        ("channel_full", ErrorCause.DISK_FULL, False),
        ("unexpected_error", ErrorCause.OTHER, True),
    ],
)
def test_a_cause_says_whether_it_may_pass_by_itself(code, cause, is_passing):
    error = Message(code, channel="houston") + Message("more", count=2)

    assert cause_of(error) == cause
    assert (cause in PASSING) == is_passing
    assert cause_of(EMPTY) is None
