"""A release that crashes, and a person who insists on it."""

import time

from tests.stage.kube import wait_for
from tests.stage.shop import QUICK_RELEASE, Shop


def test_a_release_that_crashes_is_rolled_back_and_never_becomes_a_target(shop: Shop) -> None:
    shop.stand(release=QUICK_RELEASE)
    with shop.load(rate=20) as load:
        time.sleep(20)
        shop.release(VERSION="2", BUG="crash")
        shop.wait_rolled_back(version="1")
        assert load.tally.failed == 0
        insist_on_the_bad_release(shop)


def insist_on_the_bad_release(shop: Shop) -> None:
    """A person who applies the bad template again is obeyed: from then on a rollback of it asks first."""
    bad = shop.decisions(action="Rollback")[0]["spec"]
    shop.release(VERSION="2", BUG="crash")
    again = wait_for("a second Decision", lambda: shop.decisions(action="Rollback")[1:], timeout_s=180)[0]
    assert again["spec"]["revision"] == bad["revision"]
    assert again["spec"]["mode"] == "Approve"
    assert again["spec"]["targetRevision"] == bad["targetRevision"]
    assert shop.standings()[bad["revision"]] == "Bad"
