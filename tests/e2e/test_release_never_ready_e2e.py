"""A release whose pods run but never become Ready."""

import time

from tests.stage.shop import QUICK_RELEASE, Shop


def test_a_release_that_never_becomes_ready_is_rolled_back(shop: Shop) -> None:
    shop.stand(release=QUICK_RELEASE)
    with shop.load(rate=20) as load:
        time.sleep(20)
        shop.release(VERSION="2", BUG="never-ready")
        shop.wait_rolled_back(version="1")
        assert load.tally.failed == 0
