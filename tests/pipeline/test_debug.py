"""With SYNCLINE_DEBUG on, Django notes every statement, and the pipeline does the same.

From conftest.py: `store` is a store, once on each engine.
"""

from tests.support.make import lookup, make_customer, run


def test_a_customer_gets_an_account_with_debug_on(store, settings):
    settings.DEBUG = True
    make_customer(store, "Ann")

    result = run("pipeline")

    assert result["outcome"] == "succeeded", result
    assert lookup(store) == [("005001", "Ann")]
