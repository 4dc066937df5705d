"""ConfigMaps of a template: named in every place, pointed at copies and back, kept within bounds."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onguard import contract
from onguard_operator import config_maps, release, rollback
from tests.unit.operator.worlds import Object, mdep, template

PLACES = {
    "volume": lambda n, s: s.setdefault("volumes", []).append({"name": f"v-{n}", "configMap": {"name": n}}),
    "optional": lambda n, s: s.setdefault("volumes", []).append(
        {"name": f"o-{n}", "configMap": {"name": n, "optional": True, "items": [{"key": "scale", "path": "a"}]}}
    ),
    "projected": lambda n, s: s.setdefault("volumes", []).append(
        {"name": f"p-{n}", "projected": {"sources": [{"secret": {"name": n}}, {"configMap": {"name": n}}]}}
    ),
    "envFrom": lambda n, s: s["containers"][0].setdefault("envFrom", []).append({"configMapRef": {"name": n}}),
    "env": lambda n, s: (
        s["containers"][0]
        .setdefault("env", [])
        .append({"name": n, "valueFrom": {"configMapKeyRef": {"name": n, "key": "scale"}}})
    ),
    "init": lambda n, s: s.setdefault("initContainers", []).append(
        {"name": f"i-{n}", "envFrom": [{"configMapRef": {"name": n}}]}
    ),
}
NAMES = st.sampled_from(["settings", "labels", "a.b", "churn"])


def naming_maps(*places: tuple[str, str]) -> Object:
    made = copy.deepcopy(template())
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "v-settings", "mountPath": "/x", "subPath": "scale"}]
    for place, name in places:
        PLACES[place](name, made["spec"])
    return made


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "shop", "labels": {"app": "x"}}, "data": data}


def kept(named: Object, found: dict[str, Object]) -> tuple[Object, dict[str, str], dict[str, Object]]:
    """The kept template, the digests of everything there is, and the copies."""
    copies = config_maps.copies_of(mdep(), named, found)
    there = {**found, **{body["metadata"]["name"]: body for body in copies.values()}}
    contents = {name: config_maps.content_digest(item) for name, item in there.items()}
    revision = release.identity(named, contents)
    beside = {rollback.MAPS: {own: body["metadata"]["name"] for own, body in copies.items()}}
    return rollback.keep(mdep(), revision, named, ordinal=1, beside=beside), contents, dict(copies)


@pytest.mark.parametrize("place", PLACES)
def test_every_place_that_names_a_config_map_is_pointed_at_the_copy_and_secrets_never(place: str) -> None:
    named = naming_maps((place, "settings"))
    pointed = config_maps.point(named, {"settings": "churn-onguard-copy-0123456789"})
    assert config_maps.names_of(named) == {"settings"}
    assert config_maps.names_of(pointed) == {"churn-onguard-copy-0123456789"}
    for volume in pointed["spec"].get("volumes", ()):
        for source in volume.get("projected", {}).get("sources", ()):
            assert source.get("secret", {}).get("name") in (None, "settings")


@given(st.lists(st.tuples(st.sampled_from(sorted(PLACES)), NAMES), unique=True, max_size=6), st.data())
def test_whatever_changed_the_template_that_comes_back_is_the_revision_that_it_was(
    places: list[tuple[str, str]], data: st.DataObject
) -> None:
    named = naming_maps(*places)
    before = copy.deepcopy(named)
    found = {name: config_map(name, scale="was") for name in config_maps.names_of(named)}
    item, contents, _ = kept(named, found)
    changed = data.draw(st.sets(st.sampled_from(sorted(found)))) if found else set()
    gone = data.draw(st.sets(st.sampled_from(sorted(changed)))) if changed else set()
    now = {**contents, **{n: config_maps.content_digest(None if n in gone else {"data": {"b": "c"}}) for n in changed}}
    returned = rollback.template_of([item], rollback.revision_of(item), now)
    assert returned is not None
    assert release.identity(returned, now) == rollback.revision_of(item)
    assert set(config_maps.copies_in(returned).values()) == changed, "what did not change stays the user's own"
    assert release.without_marks(returned) == release.without_marks(named)
    assert (release.identity(named, now) == rollback.revision_of(item)) is not bool(changed)
    assert (release.shape(returned) == release.shape(named)) is not bool(changed)
    assert named == before


def test_a_copy_holds_the_content_and_nothing_else_of_the_users_and_is_never_changed() -> None:
    source = {**config_map("settings", scale="1"), "binaryData": {"b": "AA=="}, "immutable": True}
    named = naming_maps(("volume", "settings"))
    copies = config_maps.copies_of(mdep(), named, {"settings": source})
    body = copies["settings"]
    assert (body["data"], body["binaryData"], body["immutable"]) == ({"scale": "1"}, {"b": "AA=="}, True)
    assert body["metadata"]["labels"] == {contract.LABEL_MODEL_DEPLOYMENT: "churn"}
    assert config_maps.is_copy(body)
    assert config_maps.content_digest(body) == config_maps.content_digest(source)
    again = config_maps.point(named, {"settings": body["metadata"]["name"]})
    there = {body["metadata"]["name"]: body}
    assert config_maps.copies_of(mdep(), again, there) == copies, "a copy of a copy is the copy"


@pytest.mark.parametrize(
    ("found", "number"),
    [
        ({"settings": config_map("settings", a="x" * (config_maps.MAX_BYTES // 2))}, 1),
        ({"settings": config_map("settings", a="x" * config_maps.MAX_BYTES)}, 0),
        ({}, 0),
    ],
)
def test_what_is_too_large_or_not_there_is_not_kept(found: dict[str, Object], number: int) -> None:
    assert len(config_maps.copies_of(mdep(), naming_maps(("volume", "settings")), found)) == number


def test_more_config_maps_than_the_bound_are_not_kept_by_halves() -> None:
    names = [f"m{n}" for n in range(config_maps.MAX_COPIES + 1)]
    named = naming_maps(*(("volume", name) for name in names))
    assert config_maps.copies_of(mdep(), named, {name: config_map(name) for name in names}) == {}


@pytest.mark.parametrize("note", ["", "{", "[]", "1", '{"settings": "x"}', '{"other-onguard-copy-0123456789": "x"}'])
def test_a_note_that_is_no_copy_of_ours_changes_nothing(note: str) -> None:
    noted: Any = naming_maps(("volume", "settings"))
    noted["metadata"]["annotations"][contract.ANNOTATION_COPIES] = note
    assert config_maps.copies_in(noted) == {}
    assert release.identity(noted, {"settings": "d"}) == release.identity(
        naming_maps(("volume", "settings")), {"settings": "d"}
    )


def test_a_note_cannot_pass_other_content_off_as_the_good_one() -> None:
    named = naming_maps(("volume", "settings"))
    item, contents, copies = kept(named, {"settings": config_map("settings", scale="was")})
    copied = copies["settings"]["metadata"]["name"]
    forged = {**contents, "settings": "changed", copied: config_maps.content_digest({"data": {"scale": "forged"}})}
    assert rollback.template_of([item], rollback.revision_of(item), forged) is None
    assert "settings" in rollback.obstacle([item], rollback.revision_of(item), forged)
