"""Whether HQ and channels agree, as the checker sees it, which shares no code with the product."""

from stores.models import ChannelDatabase
from tests.proofs.chaos.checker import Checker
from tests.proofs.chaos.places import Place
from tests.support.make import run
from tests.support.processes import hq_url


def checker_of(*databases: ChannelDatabase) -> Checker:
    return Checker(hq_url(), [Place.of(database) for database in databases])


def assert_converges(*databases: ChannelDatabase) -> None:
    """After two more pipelines HQ and the channels agree, and there is nothing left to do."""
    run("pipeline")
    last = run("pipeline")

    assert checker_of(*databases).convergence() == []
    assert last["outcome"] == "nothing_to_do"
