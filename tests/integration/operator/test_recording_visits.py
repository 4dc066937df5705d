"""`onguard record`: visits of a model, read with its token and written down."""

import pytest

from onguard import contract
from onguard.cli import recording, recordings
from onguard.learning import Source, learn
from onguard_operator import tokens
from tests.integration.operator.stage import NAME, PROFILE, SPACE, ScriptedScraper, Stage

SPEC = {"reference": {"configMap": {"name": "churn-profile"}}, "objectives": {"errors": {}, "drift": {}}}


@pytest.fixture
async def stage(tmp_path):
    stage = Stage(tmp_path)
    await stage.open()
    stage.put_reference()
    stage.guard(**SPEC)
    stage.release("1")
    await stage.run(60)
    yield stage
    await stage.close()


async def test_a_visit_is_written_with_reference_revision_and_counters(stage, tmp_path, monkeypatch):
    asked = []

    class Scraper(ScriptedScraper):
        def __init__(self, _session):
            super().__init__(stage)

        async def read(self, pods, token, since):
            asked.append(token)
            return await super().read(pods, token, {pod["metadata"]["uid"]: 0 for pod in pods})

    monkeypatch.setattr(recording, "Scraper", Scraper)
    path = tmp_path / "counts.ogr"
    assert await recording._record(stage.cluster, (SPACE, NAME), b"k" * 32, path, 0.0) == (1, {"read": 2})
    uid = stage.api.find("modeldeployments", SPACE, NAME)["metadata"]["uid"]
    assert asked == [tokens.counts_token(b"k" * 32, uid)]
    opening, frames = recordings.read(path)
    (frame,) = frames
    assert (opening.name, opening.profile.hash) == (NAME, PROFILE.hash)
    assert len(frame.pods) == 2
    assert {pod.revision for pod in frame.pods} == {frame.current}
    assert all(pod.report.counts.rows > 0 and pod.ready_at for pod in frame.pods)


async def test_a_pod_that_can_not_be_read_is_recorded_as_such_and_adds_nothing(stage):
    seen = await recording._look(stage.cluster, (SPACE, NAME))
    stage.unreadable = {"1"}
    readings = await ScriptedScraper(stage).read(seen.pods, "", {pod["metadata"]["uid"]: 0 for pod in seen.pods})
    frame = recording.frame_of(seen, readings, stage.now)
    assert [pod.report for pod in frame.pods] == [None, None]


async def test_what_pods_had_counted_before_is_not_learned(stage):
    frames = []
    for _ in range(5):
        seen = await recording._look(stage.cluster, (SPACE, NAME))
        readings = await ScriptedScraper(stage).read(seen.pods, "", {pod["metadata"]["uid"]: 0 for pod in seen.pods})
        frames.append(recording.frame_of(seen, readings, stage.now))
        stage.now += contract.SCRAPE_S
    profile = learn(Source(PROFILE, "r"), frames, requests=2000, least_days=0)
    # 20 requests a second on each of two pods: after the first frame, four more of 600 are needed.
    assert profile.rows == 2400
    assert sum(profile.features[0].counts) == 2400
