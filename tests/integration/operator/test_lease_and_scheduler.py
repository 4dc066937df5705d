import asyncio

import pytest

from onguard import contract
from onguard_operator.cluster import UnavailableError
from onguard_operator.lease import DURATION_S, TRUST_S, Lease
from onguard_operator.scheduler import Key, Scheduler
from tests.integration.operator.fake_api import FakeApi, serve, utc

START = 1_790_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def lease(self, cluster, holder: str) -> Lease:
        return Lease(cluster, "onguard", holder, monotonic=lambda: self.now, clock=lambda: utc(self.now))


async def test_one_operator_acts_and_the_other_takes_over_only_after_the_lease_has_expired() -> None:
    clock = Clock()
    async with serve(FakeApi(clock=lambda: utc(clock.now))) as cluster:
        first, second = clock.lease(cluster, "a"), clock.lease(cluster, "b")
        assert (await first.renew(), await second.renew()) == (True, False)
        clock.now += TRUST_S + 1
        assert not first.is_held, "what could not be renewed is not relied on"
        assert not await second.renew(), "and nobody else takes it before it has expired"
        clock.now += DURATION_S + 1
        assert await second.renew()
        assert not await first.renew()


async def test_a_lease_that_is_given_back_is_free_at_once() -> None:
    clock = Clock()
    async with serve(FakeApi(clock=lambda: utc(clock.now))) as cluster:
        first, second = clock.lease(cluster, "a"), clock.lease(cluster, "b")
        await first.renew()
        await first.release()
        assert await second.renew()
        assert not first.is_held


async def test_an_api_server_that_is_away_ends_the_trust_and_not_the_process() -> None:
    clock, api = Clock(), FakeApi(clock=lambda: utc(START))
    async with serve(api) as cluster:
        lease = clock.lease(cluster, "a")
        await lease.renew()
        api.writes_until_outage = 0
        with pytest.raises(UnavailableError):
            await lease.renew()
        assert lease.is_held, "what was renewed just now still holds"
        clock.now += TRUST_S + 1
        assert not lease.is_held


class Visits:
    """Records what a scheduler does."""

    def __init__(self) -> None:
        self.existing = {Key("shop", "a")}
        self.visited: list[Key] = []
        self.forgotten: list[Key] = []
        self.failed: list[Key] = []
        self.running = self.most = 0
        self.raises = False
        self.listed: set[Key] | None = set()

    def scheduler(self) -> Scheduler:
        return Scheduler(
            visit=self.visit, known=self.known, forget=self.forgotten.append, failed=lambda k, _: self.failed.append(k)
        )

    async def visit(self, key: Key) -> bool:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.2)
        self.running -= 1
        self.visited.append(key)
        if self.raises:
            raise RuntimeError("broken object")
        return key in self.existing

    async def known(self) -> set[Key] | None:
        return self.listed


@pytest.mark.looptime
async def test_a_key_is_visited_each_interval_and_at_once_when_poked(looptime) -> None:
    visits = Visits()
    scheduler = visits.scheduler()
    scheduler.poke("shop", "a")
    await asyncio.sleep(contract.SCRAPE_S * 4)
    assert 4 <= len(visits.visited) <= 5
    before = len(visits.visited)
    scheduler.poke("shop", "a")
    scheduler.poke("shop", "a")
    await asyncio.sleep(2)
    assert len(visits.visited) == before + 1
    await scheduler.close()


@pytest.mark.looptime
async def test_a_deletion_that_no_event_told_of_is_found_by_the_sweep(looptime) -> None:
    visits = Visits()
    scheduler = visits.scheduler()
    scheduler.poke("shop", "a")
    await asyncio.sleep(1)
    visits.existing.clear()
    await scheduler.sweep()
    await asyncio.sleep(3)
    assert visits.forgotten == [Key("shop", "a")]
    await scheduler.close()


@pytest.mark.looptime
async def test_an_unreadable_list_is_no_empty_list_and_missed_objects_are_found(looptime) -> None:
    visits = Visits()
    scheduler = visits.scheduler()
    visits.listed = None
    await scheduler.sweep()
    visits.listed = visits.existing
    await scheduler.sweep()
    await asyncio.sleep(1)
    assert visits.visited == [Key("shop", "a")]
    await scheduler.close()


@pytest.mark.looptime
async def test_an_object_that_breaks_its_visit_is_visited_again_and_hurts_no_other(looptime) -> None:
    visits = Visits()
    visits.existing |= {Key("shop", str(n)) for n in range(30)}
    visits.raises = True
    scheduler = visits.scheduler()
    for key in visits.existing:
        scheduler.poke(*key)
    await asyncio.sleep(contract.SCRAPE_S * 2.5)
    assert len(visits.failed) >= 2 * len(visits.existing)
    assert visits.most <= 8
    assert visits.forgotten == []
    await scheduler.close()
