"""What a visit costs the API server, and that an answer from memory is never older than its reader allows."""

import asyncio

import pytest

from onguard_operator.cluster import Cluster, ForbiddenError, Kind, UnavailableError
from onguard_operator.cluster.recent import LONGEST_S, Question, Recent
from tests.integration.operator.stage import NAME, SPACE, Stage

VISITS = 20


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    await stage.open()
    yield stage
    await stage.close()


def visits_cost(stage: Stage, since: int) -> float:
    """Requests a visit, without those of the Lease."""
    asked = [request for request in stage.api.requests[since:] if "/leases/" not in request]
    return len(asked) / VISITS


async def test_a_quiet_visit_costs_a_dozen_requests(stage: Stage) -> None:
    stage.guard()
    stage.release("1")
    await stage.run(150)
    before = len(stage.api.requests)
    await stage.run(15 * VISITS)
    assert visits_cost(stage, before) <= 12.5, stage.api.requests[-20:]


async def test_models_of_one_namespace_share_what_they_have_in_common(stage: Stage) -> None:
    stage.guard()
    stage.release("1")
    await stage.run(60)
    cluster, space = stage.cluster, SPACE
    before = len(stage.api.requests)
    reads = [cluster.list(Kind.SERVICE, space, within=10.0) for _ in range(8)]
    reviews = [cluster.is_allowed("patch", Kind.DEPLOYMENT, space, within=10.0) for _ in range(8)]
    stage.now += 20
    found = await asyncio.gather(*reads, *reviews)
    assert len(stage.api.requests) - before == 2
    assert found == [found[0]] * 8 + [True] * 8


async def test_an_own_write_is_seen_by_the_next_read(stage: Stage) -> None:
    cluster: Cluster = stage.cluster
    (service,) = await cluster.list(Kind.SERVICE, SPACE, within=60.0)
    await cluster.patch(Kind.SERVICE, service, {"spec": {"ports": []}})
    (again,) = await cluster.list(Kind.SERVICE, SPACE, within=60.0)
    assert (service["spec"]["ports"], again["spec"]["ports"]) == ([{"port": 80, "targetPort": "http"}], [])
    found = await cluster.find(Kind.SERVICE, SPACE, NAME, within=60.0)
    await cluster.delete(Kind.SERVICE, found)
    assert await cluster.find(Kind.SERVICE, SPACE, NAME, within=60.0) is None


async def test_an_answer_is_never_older_than_its_reader_allows(stage: Stage) -> None:
    cluster = stage.cluster
    assert len(await cluster.list(Kind.SERVICE, SPACE, within=10.0)) == 1
    stage.api.delete(next(p for p in stage.api.objects if p.resource == "services"), {})
    assert len(await cluster.list(Kind.SERVICE, SPACE, within=10.0)) == 1
    assert await cluster.list(Kind.SERVICE, SPACE) == [], "a reader that says nothing reads live"
    stage.now += 9
    assert len(await cluster.list(Kind.SERVICE, SPACE, within=10.0)) == 1
    stage.now += 1
    assert await cluster.list(Kind.SERVICE, SPACE, within=10.0) == []


ASKED = Question("list", Kind.POD, "shop")


class Source:
    """Something slow that can fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.reads, self.go = error, 0, asyncio.Event()

    async def read(self) -> int:
        self.reads += 1
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return self.reads


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    recent, source = Recent(lambda: 0.0), Source(UnavailableError("x"))
    waiting = [asyncio.ensure_future(recent.ask(ASKED, 60.0, source.read)) for _ in range(3)]
    await asyncio.sleep(0)
    source.go.set()
    failed = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in failed] == [UnavailableError] * 3
    source.error = None
    assert await recent.ask(ASKED, 60.0, source.read) == 2


async def test_a_reader_that_is_cancelled_takes_the_answer_from_nobody() -> None:
    recent, source = Recent(lambda: 0.0), Source()
    first, second = (asyncio.ensure_future(recent.ask(ASKED, 60.0, source.read)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.go.set()
    assert await second == 1
    assert source.reads == 1


async def test_what_was_written_while_it_was_read_is_read_again() -> None:
    recent, source = Recent(lambda: 0.0), Source()
    early = asyncio.ensure_future(recent.ask(ASKED, 60.0, source.read))
    await asyncio.sleep(0)
    recent.forget(Kind.POD, "shop")
    source.go.set()
    assert await early == 1
    assert await recent.ask(ASKED, 60.0, source.read) == 2


async def test_memory_is_bounded_by_a_minute_of_questions_and_ends_with_the_connection() -> None:
    now = [0.0]
    recent, source = Recent(lambda: now[0]), Source()
    source.go.set()
    for number in range(50):
        now[0] += LONGEST_S / 10
        await recent.ask(Question("list", Kind.POD, f"shop-{number}"), 5.0, source.read)
    assert len(recent._answers) <= 11
    source.go.clear()
    late = asyncio.ensure_future(recent.ask(ASKED, 5.0, source.read))
    await asyncio.sleep(0)
    await recent.close()
    with pytest.raises(asyncio.CancelledError):
        await late


async def test_a_right_that_is_taken_away_is_refused_at_once_and_known_within_half_a_minute(stage: Stage) -> None:
    cluster = stage.cluster
    (service,) = await cluster.list(Kind.SERVICE, SPACE)
    assert await cluster.is_allowed("patch", Kind.SERVICE, SPACE, within=30.0)
    stage.api.forbidden.add(("patch", "services"))
    with pytest.raises(ForbiddenError):
        await cluster.patch(Kind.SERVICE, service, {"spec": {}})
    assert not await cluster.is_allowed("patch", Kind.SERVICE, SPACE, within=30.0), "the refusal makes it ask again"
