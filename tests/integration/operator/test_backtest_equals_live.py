"""A recording of what the operator read, replayed: the verdicts and the evidence are the operator's, bit by bit."""

import pytest

from onguard import contract
from onguard.cli import recordings
from onguard.cli.policies import model_of
from onguard.cli.recording import frame_of
from onguard.cli.replay import Engine
from onguard_operator import evaluate
from tests.integration.operator.stage import NAME, PROFILE, SPACE, Stage, Traffic

POLICY = {
    "objectives": {
        "availability": {},
        "errors": {"below": "1%"},
        "drift": {"tolerance": "1%", "retrainAt": "10%"},
        "dataQuality": {"tolerance": "1%"},
    },
    "reference": {"configMap": {"name": "churn-profile"}},
    "actions": {
        "rollback": {"mode": "DryRun"},
        "retrain": {"mode": "DryRun", "from": {"name": "churn-train"}},
    },
    "release": {"bake": {"for": "5m", "requests": 100}},
}


@pytest.fixture
async def stage(tmp_path):
    made = Stage(tmp_path)
    await made.open()
    yield made
    await made.close()


class Recorder:
    """Writes down what each evaluation starts from, and what it left the operator with."""

    def __init__(self, stage, writer, monkeypatch):
        self.stage, self.evidence = stage, []
        evaluated = evaluate.evaluate

        def evaluate_and_record(evidence, inputs):
            writer.add(frame_of(inputs.seen, inputs.readings, inputs.now))
            return evaluated(evidence, inputs)

        monkeypatch.setattr(evaluate, "evaluate", evaluate_and_record)

    async def run(self, seconds):
        stage, end = self.stage, self.stage.now + seconds
        while stage.now < end:
            stage.settle()
            await stage.visit()
            uid = stage.api.find("modeldeployments", SPACE, NAME)["metadata"]["uid"]
            self.evidence.append(stage.visitor._evidence[uid])
            stage.now += contract.SCRAPE_S


def detectors_of(evidence):
    return {
        **{name: state.encode() for name, state in evidence.data.items()},
        **{name: state.encode() for name, state in evidence.service.items()},
        "onsets": dict(evidence.onsets),
        "standings": [known.standing for known in evidence.history.revisions],
        "requests": [known.requests for known in evidence.history.revisions],
        "past": [(p.id, p.requests, p.errors) for p in evidence.past],
        "open": evidence.memory.open,
    }


def told(v):
    blockers = [b.reason for b in v.blockers]
    return (v.cause, v.action, v.mode, v.control, v.revision, v.target_revision or "", blockers, v.message)


def written(s):
    names = ("cause", "action", "mode", "control", "revision")
    blockers = [b["reason"] for b in s.get("blockers", ())]
    return (*(s[name] for name in names), s.get("targetRevision", ""), blockers, s["message"])


SCENES = {
    "drift": Traffic(shift=3),
    "missing": Traffic(missing=0.3),
    "errors": Traffic(bad=0.3),
    "quiet": Traffic(),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("is_release", [False, True])
async def test_a_replay_is_the_operator_bit_by_bit(stage, tmp_path, monkeypatch, scene, is_release):
    path = tmp_path / "counts.ogr"
    stage.put_reference()
    stage.guard(**POLICY)
    stage.release("1")
    with recordings.Writer(path, recordings.Opening(NAME, PROFILE)) as writer:
        recorder = Recorder(stage, writer, monkeypatch)
        await recorder.run(540)
        if is_release:
            stage.traffic["2"] = SCENES[scene]
            stage.release("2")
        else:
            stage.traffic["1"] = SCENES[scene]
        await recorder.run(420)
    monkeypatch.undo()

    opening, frames = recordings.read(path)
    mdep = stage.api.find("modeldeployments", SPACE, NAME)
    engine = Engine(model_of(dict(mdep), "live"), opening.profile)
    turns = []
    for number, frame in enumerate(frames):
        turn = engine.visit(frame)
        turns += [turn] if turn else []
        assert detectors_of(engine.evidence) == detectors_of(recorder.evidence[number]), number
    assert engine.visits == len(recorder.evidence)

    replayed = [told(turn.verdict) for turn in turns if turn.verdict]
    live = [written(decision["spec"]) for decision in stage.decisions()]
    assert replayed == live
    assert bool(live) == (scene != "quiet")
    figures = [[f.encode() for f in turn.figures] for turn in turns if turn.verdict]
    assert figures == [d["spec"]["evidence"] for d in stage.decisions()]
