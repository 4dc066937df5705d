import pytest

from onguard_operator.gate.ownership import guard_of, is_suspended, workload_of

CHURN = {
    "metadata": {"name": "churn", "uid": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"targetRef": {"name": "churn"}},
}


def pod(kind="ReplicaSet", name="churn-5d4f", *, api="apps/v1", controller=True, **labels):
    owner = {"apiVersion": api, "kind": kind, "name": name, "controller": controller}
    return {"metadata": {"labels": {"pod-template-hash": "5d4f", **labels}, "ownerReferences": [owner]}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(), ("Deployment", "churn")),
        (pod(name="a-b-5d4f"), ("Deployment", "a-b")),
        (pod(name="churn"), ("ReplicaSet", "churn")),
        (pod(kind="StatefulSet", name="churn"), ("StatefulSet", "churn")),
        (pod(controller=False), None),
        (pod(api="batch/v1", kind="Job", name="train"), None),
        ({"metadata": {}}, None),
        (
            {
                "metadata": {
                    "ownerReferences": [
                        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x-", "controller": True}
                    ]
                }
            },
            ("ReplicaSet", "x-"),
        ),
    ],
)
def test_the_owner_names_the_workload(given, expected):
    assert workload_of(given) == expected


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (pod(), True),
        (pod(name="other-5d4f"), False),
        (pod(kind="StatefulSet", name="churn"), False),
        (pod(name="churn-onguard-baseline", **{"onguard.dev/arm": "baseline"}), True),
        (pod(name="other", **{"onguard.dev/arm": "baseline", "onguard.dev/model-deployment": "churn"}), True),
        (pod(name="other", **{"onguard.dev/arm": "baseline", "onguard.dev/model-deployment": "else"}), False),
        (pod(**{"onguard.dev/arm": "baseline"}), False),
    ],
)
def test_a_pod_belongs_by_its_owner_or_by_its_arm(given, found):
    assert guard_of(given, [CHURN]) == (CHURN if found else None)


def test_the_oldest_of_two_guards_whatever_their_order():
    younger = {
        **CHURN,
        "metadata": {**CHURN["metadata"], "name": "a", "uid": "0", "creationTimestamp": "2026-02-01T00:00:00Z"},
    }
    assert guard_of(pod(), [younger, CHURN]) == guard_of(pod(), [CHURN, younger]) == CHURN


def test_one_that_is_being_deleted_guards_nothing_new():
    leaving = {**CHURN, "metadata": {**CHURN["metadata"], "deletionTimestamp": "2026-02-01T00:00:00Z"}}
    assert guard_of(pod(), [leaving]) is None


@pytest.mark.parametrize(
    ("status", "suspended"),
    [(None, False), ({}, False), ({"suspendedImages": ["a:1"]}, True), ({"suspendedImages": ["a:2"]}, False)],
)
def test_a_new_image_ends_the_suspension(status, suspended):
    assert is_suspended({**CHURN, "status": status}, "a:1") is suspended
