"""Images by digest: which ones can be named so, and that a pinned template is the revision that it was."""

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard import contract
from onguard_operator import images, plan, release, rollback
from onguard_operator.release import History, Revision, Standing
from tests.unit.operator.worlds import NOW_TEXT, Object, deployment, mdep, pod, template, world

DIGEST = f"sha256:{'ab' * 32}"
OTHER = f"sha256:{'cd' * 32}"
NOW = datetime.fromisoformat(NOW_TEXT).astimezone(UTC)
MEANS = plan.Means(sidecar_image="sidecar:1", token_sha256="t")


def running(name: str, image_id: str, *, ready: bool = True) -> Object:
    return pod(name, ready=ready, status={"containerStatuses": [{"name": "model", "imageID": image_id}]})


@pytest.mark.parametrize(
    ("image", "image_id", "expected"),
    [
        ("model:1", f"docker.io/library/model@{DIGEST}", f"model@{DIGEST}"),
        ("model", f"docker-pullable://model@{DIGEST}", f"model@{DIGEST}"),
        ("r.example:5000/a/model:1", f"r.example:5000/a/model@{DIGEST}", f"r.example:5000/a/model@{DIGEST}"),
        ("model:1", DIGEST, None),
        ("model:1", "", None),
        ("model:1", f"docker.io/library/import-2026-11-25@{DIGEST}", None),
        ("quay.io/kim/model:1", f"docker.io/kim/model@{DIGEST}", None),
    ],
)
def test_only_a_digest_that_the_images_own_registry_knows_names_it(
    image: str, image_id: str, expected: str | None
) -> None:
    assert images.by_digest(image, image_id) == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([f"model@{DIGEST}"] * 2, {"model": f"model@{DIGEST}"}),
        ([f"model@{DIGEST}", f"model@{OTHER}"], {}),
        ([f"model@{DIGEST}", DIGEST], {}),
        ([], {}),
    ],
)
def test_pods_must_agree_on_what_a_tag_is(ids: list[str], expected: dict[str, str]) -> None:
    assert images.digests(template(), [running(str(i), one) for i, one in enumerate(ids)]) == expected


def test_an_image_by_digest_stays_as_it_is() -> None:
    named = template()
    named["spec"]["containers"][0]["image"] = f"model@{DIGEST}"
    assert images.digests(named, [running("a", f"model@{OTHER}")]) == {}
    assert images.pin(named, {"model": f"model@{OTHER}"}) == named
    assert images.by_tag_only(named) == []


@given(
    version=st.text("0123456789.", min_size=1, max_size=5), extra=st.dictionaries(st.text("ab/", min_size=1), st.text())
)
def test_a_pinned_template_is_the_same_revision(version: str, extra: dict[str, str]) -> None:
    plain = template(version, **extra)
    before = copy.deepcopy(plain)
    pinned = images.pin(plain, {"model": f"model@{DIGEST}"})
    assert pinned["spec"]["containers"][0]["image"] == f"model@{DIGEST}"
    assert plain == before
    assert release.identity(pinned, {}) == release.identity(plain, {})
    assert release.without_marks(pinned) == release.without_marks(plain)


@pytest.mark.parametrize("image", ["model:2", f"model@{OTHER}"])
def test_an_image_that_is_changed_after_the_rollback_is_another_revision(image: str) -> None:
    pinned = images.pin(template(), {"model": f"model@{DIGEST}"})
    pinned["spec"]["containers"][0]["image"] = image
    assert release.identity(pinned, {}) != release.identity(template(), {})


@pytest.mark.parametrize("note", ["", "{", "[]", '{"model": 1}', '{"model": ["evil:1", "model:1"]}'])
def test_a_note_that_is_no_pin_of_ours_changes_nothing(note: str) -> None:
    noted = template(**{contract.ANNOTATION_PINNED: note})
    assert release.identity(noted, {}) == release.identity(template(), {})


def steps(pods: list[Object], kept: list[Object]) -> list[Any]:
    shape = template()
    owner = {"metadata": {"name": "churn-rs", "uid": "uid-rs"}, "spec": {"template": shape}}
    current = release.identity(shape, {})
    seen = world(target=deployment(shape), pods=pods, replica_sets=[owner], good_templates=kept)
    history = History(current=current, revisions=(Revision(id=current, standing=Standing.ASSUMED_GOOD),))
    return [s for s in plan.plan(seen, history, means=MEANS, now=NOW) if isinstance(s, plan.KeepTemplate)]


def test_a_good_template_is_kept_at_once_and_once_more_when_its_digests_are_known() -> None:
    known = running("a", f"model@{DIGEST}")
    (first,) = steps([running("a", "", ready=False)], [])
    assert first.images == {}
    poor = rollback.keep(mdep(), first.revision, first.template, ordinal=4)
    assert steps([running("a", DIGEST)], [poor]) == [], "no registry has a loaded image"
    (second,) = steps([known], [poor])
    assert (second.images, second.ordinal) == ({"model": f"model@{DIGEST}"}, 4)
    rich = rollback.keep(mdep(), second.revision, second.template, ordinal=4, beside={rollback.IMAGES: second.images})
    assert steps([running("a", f"model@{OTHER}")], [rich]) == [], "what ran when it became good stays"
    returned = rollback.template_of([rich], second.revision, {})
    assert returned["spec"]["containers"][0]["image"] == f"model@{DIGEST}"
