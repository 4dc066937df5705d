import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onguard import contract
from onguard_operator import naming
from onguard_operator.inject import TOUCHED, Guard, NotInjected, Patch, Reason, inject
from tests.unit.gate.json_patch import apply_patch
from tests.unit.gate.pods import SETTINGS, guard, model, pod

ROOT = Path(__file__).parents[3]


def injected(original, by=None, with_settings=SETTINGS):
    result = inject(original, by or guard(), with_settings)
    assert isinstance(result, Patch), result
    return apply_patch(original, result.operations)


def sidecars(guarded):
    return {c["name"]: c for c in guarded["spec"]["initContainers"] if c["name"].startswith("onguard-")}


def environment(container):
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}


# --- the truth table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (pod(), None),
        (pod(metadata={"annotations": {"onguard.dev/inject": "enabled"}}), None),
        (pod(metadata={"annotations": {"onguard.dev/inject": "disabled"}}), Reason.OPTED_OUT),
        (pod(metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}), Reason.MIRROR_POD),
        (pod(hostNetwork=True), Reason.HOST_NETWORK),
        (pod(hostNetwork=False), None),
        (pod(os={"name": "windows"}), Reason.WINDOWS),
        (pod(os={"name": "linux"}), None),
        (
            pod(metadata={"ownerReferences": [{"kind": "Job", "name": "train", "uid": "j", "controller": True}]}),
            Reason.JOB_POD,
        ),
        (pod(containers=[model(ports=[{"containerPort": 8080}])]), Reason.PORT_UNNAMED),
        (pod(containers=[model(ports=[{"name": "web", "containerPort": 8080}])]), Reason.PORT_NOT_FOUND),
        (pod(containers=[model(ports=[])]), Reason.PORT_NOT_FOUND),
        (
            pod(containers=[model(ports=[{"name": "http", "containerPort": 8080, "protocol": "UDP"}])]),
            Reason.PORT_NOT_FOUND,
        ),
        (
            pod(containers=[model(), {"name": "two", "ports": [{"name": "http", "containerPort": 81}]}]),
            Reason.PORT_AMBIGUOUS,
        ),
        (
            pod(containers=[model(ports=[{"name": "http", "containerPort": contract.PORT_WIRE}])]),
            Reason.PORT_CLASH,
        ),
        (
            pod(containers=[model(), {"name": "x", "ports": [{"name": "a", "containerPort": contract.PORT_ADMIN}]}]),
            Reason.PORT_CLASH,
        ),
        (
            pod(containers=[model(), {"name": "x", "ports": [{"name": "og-8080", "containerPort": 81}]}]),
            Reason.PORT_NAME_CLASH,
        ),
        (pod(containers=[model(), {"name": contract.CONTAINER_WIRE}]), Reason.CONTAINER_NAME_CLASH),
        (pod(initContainers=[{"name": contract.CONTAINER_ANALYST}]), Reason.CONTAINER_NAME_CLASH),
        (pod(volumes=[{"name": contract.VOLUME_SHARED, "emptyDir": {}}]), Reason.VOLUME_CLASH),
    ],
)
def test_a_pod_is_guarded_or_its_annotation_says_why_not(change, reason):
    result = inject(change, guard(), SETTINGS)
    if reason is None:
        assert isinstance(result, Patch)
        assert result.operations
        return
    assert isinstance(result, NotInjected)
    assert result.reason == reason
    started = apply_patch(change, result.operations)
    assert started["metadata"]["annotations"][contract.ANNOTATION_INJECTION] == reason
    assert started["spec"] == change["spec"]


def test_a_cluster_older_than_the_minimum_gets_no_sidecar():
    result = inject(pod(), guard(), replace(SETTINGS, kubernetes=(1, 31)))
    assert isinstance(result, NotInjected)
    assert (result.reason, result.message) == (
        Reason.CLUSTER_TOO_OLD,
        "expected Kubernetes 1.32 or later, got 1.31",
    )


def test_a_suspended_injection_leaves_the_pod_alone():
    result = inject(pod(), Guard(name="churn", spec=guard().spec, is_suspended=True), SETTINGS)
    assert isinstance(result, NotInjected)
    assert result.reason is Reason.SUSPENDED


def test_an_unnamed_port_is_answered_with_the_fix():
    result = inject(pod(containers=[model(ports=[{"containerPort": 8080}])]), guard(), SETTINGS)
    assert isinstance(result, NotInjected)
    assert result.message == (
        'expected a TCP container port named "http", got only numbers (8080): name the port in the pod template and '
        "let the Service's targetPort be that name"
    )


# --- what a guarded pod looks like ----------------------------------------------------------------------------


def test_the_port_name_moves_to_the_wire_and_the_number_stays_with_the_model():
    guarded = injected(pod())
    wire = sidecars(guarded)[contract.CONTAINER_WIRE]
    assert {"name": "http", "containerPort": 15080, "protocol": "TCP"} in wire["ports"]
    assert guarded["spec"]["containers"][0]["ports"] == [{"name": "og-8080", "containerPort": 8080, "protocol": "TCP"}]
    assert environment(wire)[contract.ENV_UPSTREAM_PORT] == "8080"
    assert guarded["metadata"]["annotations"][contract.ANNOTATION_MODEL_PORT] == "8080"
    assert guarded["metadata"]["labels"][contract.LABEL_GUARDED_BY] == "churn"
    assert guarded["metadata"]["labels"]["app"] == "churn"


def test_probes_and_hooks_of_the_model_follow_its_port():
    by_name = {"httpGet": {"path": "/ready", "port": "http"}}
    other = {"tcpSocket": {"port": "metrics"}}
    original = pod(
        containers=[
            model(
                ports=[{"name": "metrics", "containerPort": 9}, {"name": "http", "containerPort": 8080}],
                startupProbe={"tcpSocket": {"port": "http"}},
                readinessProbe=by_name,
                livenessProbe=other,
                lifecycle={"postStart": by_name, "preStop": by_name},
            ),
            {"name": "second", "readinessProbe": by_name},
        ]
    )
    model_now, second = injected(original)["spec"]["containers"]
    assert model_now["startupProbe"] == {"tcpSocket": {"port": 8080}}
    assert model_now["readinessProbe"] == {"httpGet": {"path": "/ready", "port": 8080}}
    assert model_now["livenessProbe"] == other
    assert model_now["lifecycle"] == {
        key: {"httpGet": {"path": "/ready", "port": 8080}} for key in ("postStart", "preStop")
    }
    assert second == original["spec"]["containers"][1]


@pytest.mark.parametrize(
    ("original", "grace", "pre_stop"),
    [
        (pod(), 35, {"sleep": {"seconds": 5}}),
        (pod(terminationGracePeriodSeconds=60), 65, {"sleep": {"seconds": 5}}),
        (pod(terminationGracePeriodSeconds=0), 5, {"sleep": {"seconds": 5}}),
        (
            pod(containers=[model(lifecycle={"preStop": {"exec": {"command": ["/stop"]}}})]),
            None,
            {"exec": {"command": ["/stop"]}},
        ),
        (
            pod(containers=[model(lifecycle={"postStart": {"exec": {"command": ["/go"]}}})]),
            35,
            {"sleep": {"seconds": 5}},
        ),
    ],
)
def test_the_model_sleeps_while_endpoints_propagate_unless_it_has_a_hook_of_its_own(original, grace, pre_stop):
    guarded = injected(original)
    assert guarded["spec"].get("terminationGracePeriodSeconds") == grace
    assert guarded["spec"]["containers"][0]["lifecycle"]["preStop"] == pre_stop
    wire = sidecars(guarded)[contract.CONTAINER_WIRE]
    assert environment(wire)[contract.ENV_GRACE_PERIOD] == str(grace or 30)


def test_both_sidecars_are_restricted_and_native():
    for container in sidecars(injected(pod())).values():
        assert container["restartPolicy"] == "Always"
        assert container["image"] == SETTINGS.image
        assert container["securityContext"] == {
            "runAsNonRoot": True,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


def test_the_wire_has_no_cpu_limit_and_the_analyst_no_readiness():
    both = sidecars(injected(pod()))
    assert "cpu" not in both[contract.CONTAINER_WIRE]["resources"]["limits"]
    assert "readinessProbe" not in both[contract.CONTAINER_ANALYST]
    assert both[contract.CONTAINER_WIRE]["lifecycle"] == {
        "preStop": {"exec": {"command": ["python3", "-m", "onguard_sidecar.wire", "drain"]}}
    }


@pytest.mark.parametrize(("uid", "expected"), [(None, None), (0, 65532), (1000, None)])
def test_a_uid_is_set_only_where_the_pods_own_is_root(uid, expected):
    context = {} if uid is None else {"securityContext": {"runAsUser": uid}}
    for container in sidecars(injected(pod(**context))).values():
        assert container["securityContext"].get("runAsUser") == expected


def test_every_volume_that_names_an_object_is_optional():
    made = {v["name"]: v for v in injected(pod())["spec"]["volumes"]}
    assert made[contract.VOLUME_SHARED]["emptyDir"]["medium"] == "Memory"
    assert made[contract.VOLUME_SHARED]["emptyDir"]["sizeLimit"]
    assert made[contract.VOLUME_CONFIG]["configMap"]["name"] == naming.sidecar_config_name("churn")
    assert made[contract.VOLUME_PROFILE]["configMap"]["name"] == "churn-profile"
    assert all(v["configMap"]["optional"] for v in made.values() if "configMap" in v)


@pytest.mark.parametrize(
    ("reference", "config_map"),
    [
        ({"learn": {"requests": 2000}}, "churn-onguard-learned"),
        ({"configMap": {"name": "mine", "key": "a.json"}}, "mine"),
        ({}, None),
    ],
)
def test_the_profile_is_the_given_or_the_learned_one(reference, config_map):
    guarded = injected(pod(), guard(reference=reference))
    made = {v["name"]: v for v in guarded["spec"]["volumes"]}
    assert made.get(contract.VOLUME_PROFILE, {}).get("configMap", {}).get("name") == config_map
    for container in sidecars(guarded).values():
        assert (contract.ENV_PROFILE_PATH in environment(container)) == (config_map is not None)
        assert (contract.VOLUME_PROFILE in {m["name"] for m in container["volumeMounts"]}) == (config_map is not None)


def test_no_sidecar_can_get_a_service_account_token():
    for container in sidecars(injected(pod())).values():
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert mounts["/var/run/secrets/kubernetes.io/serviceaccount"]["name"] == "onguard-no-token"


@pytest.mark.parametrize(
    ("source", "host_pid", "shared"),
    [
        ("MetricsAPI", None, None),
        ("ProcessNamespace", None, True),
        ("ProcessNamespace", True, None),
        ("None", None, None),
    ],
)
def test_processes_are_shared_only_where_asked_for(source, host_pid, shared):
    original = pod(**({"hostPID": True} if host_pid else {}))
    guarded = injected(original, guard(resources={"source": source}))
    assert guarded["spec"].get("shareProcessNamespace") == shared
    analyst = sidecars(guarded)[contract.CONTAINER_ANALYST]
    assert environment(analyst)[contract.ENV_PROC_SHARED] == ("true" if shared else "false")


def test_limits_of_the_model_are_told_only_where_it_has_some():
    without = environment(sidecars(injected(pod()))[contract.CONTAINER_ANALYST])
    assert contract.ENV_MODEL_CPU_LIMIT not in without
    limited = pod(containers=[model(resources={"limits": {"memory": "1Gi"}})])
    told = environment(sidecars(injected(limited))[contract.CONTAINER_ANALYST])
    assert contract.ENV_MODEL_CPU_LIMIT not in told
    assert told[contract.ENV_MODEL_MEMORY_LIMIT] == {
        "resourceFieldRef": {"containerName": "model", "resource": "limits.memory", "divisor": "1"}
    }


@pytest.mark.parametrize(
    ("labels", "arm", "revision"),
    [
        ({"pod-template-hash": "5d4f"}, "candidate", "metadata.labels['pod-template-hash']"),
        (
            {"pod-template-hash": "5d4f", "onguard.dev/arm": "baseline"},
            "baseline",
            "metadata.labels['pod-template-hash']",
        ),
        (
            {"onguard.dev/revision": "ab", "onguard.dev/arm": "baseline"},
            "baseline",
            "metadata.labels['onguard.dev/revision']",
        ),
        ({"controller-revision-hash": "x"}, "candidate", "metadata.labels['controller-revision-hash']"),
        ({}, "candidate", "metadata.labels['pod-template-hash']"),
    ],
)
def test_the_sidecar_knows_its_arm_and_revision(labels, arm, revision):
    told = environment(sidecars(injected(pod(metadata={"labels": labels})))[contract.CONTAINER_ANALYST])
    assert told[contract.ENV_ARM] == arm
    assert told[contract.ENV_REVISION]["fieldRef"]["fieldPath"] == revision


def test_every_variable_of_the_contract_reaches_both_containers():
    limited = pod(containers=[model(resources={"limits": {"cpu": "1", "memory": "1Gi"}})])
    # Others are for Jobs, for the chart, or defaults that only tests change.
    names = ("MODEL", "ARM", "UPSTREAM_PORT", "WIRE_PORT", "HEALTH_PORT", "ADMIN_PORT", "CONFIG_DIR", "SHARED_DIR")
    more = ("GRACE_PERIOD", "MODEL_CONTAINER", "PROC_SHARED", "PROFILE_PATH", "POD_IP", "POD_NAME", "POD_UID")
    last = ("NAMESPACE", "REVISION", "MODEL_CPU_LIMIT", "MODEL_MEMORY_LIMIT")
    expected = {getattr(contract, f"ENV_{name}") for name in (*names, *more, *last)}
    for container in sidecars(injected(limited)).values():
        assert set(environment(container)) == expected


@pytest.mark.parametrize(("present", "scraped"), [({}, "15090"), ({"prometheus.io/scrape": "false"}, None)])
def test_scrape_annotations_never_change_those_of_the_user(present, scraped):
    original = pod(metadata={"annotations": present})
    guarded = injected(original, with_settings=replace(SETTINGS, scrape_annotations=True))
    assert guarded["metadata"]["annotations"].get("prometheus.io/port") == scraped


def test_pull_secrets_are_added_once():
    with_secret = replace(SETTINGS, pull_secrets=("registry",))
    assert injected(pod(), with_settings=with_secret)["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    has = pod(imagePullSecrets=[{"name": "registry"}])
    assert injected(has, with_settings=with_secret)["spec"]["imagePullSecrets"] == [{"name": "registry"}]


# --- over random pods -----------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["http", "web", "grpc", "metrics", "og-8080"])
_PORTS = st.lists(
    st.fixed_dictionaries(
        {"containerPort": st.sampled_from([80, 8080, 9000, 15080, 15090])},
        optional={"name": _NAMES, "protocol": st.sampled_from(["TCP", "UDP"])},
    ),
    max_size=3,
)
_HANDLER = st.one_of(
    st.fixed_dictionaries({"httpGet": st.fixed_dictionaries({"port": st.one_of(_NAMES, st.just(8080))})}),
    st.fixed_dictionaries({"tcpSocket": st.fixed_dictionaries({"port": _NAMES})}),
    st.just({"exec": {"command": ["true"]}}),
)
_CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b", "c", "onguard-wire"])},
    optional={
        "ports": _PORTS,
        "readinessProbe": _HANDLER,
        "livenessProbe": _HANDLER,
        "lifecycle": st.fixed_dictionaries({}, optional={"preStop": _HANDLER, "postStart": _HANDLER}),
        "env": st.just([{"name": "A", "value": "1"}]),
    },
)
_UNIQUE = {"unique_by": lambda c: c["name"]}
_PODS = st.builds(
    lambda metadata, spec: {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec},
    st.fixed_dictionaries(
        {},
        optional={
            "labels": st.dictionaries(st.sampled_from(["app", "pod-template-hash", "a/b~c"]), st.just("x")),
            "annotations": st.dictionaries(
                st.sampled_from(["note", "onguard.dev/injection", "prometheus.io/scrape"]), st.just("x")
            ),
        },
    ),
    st.fixed_dictionaries(
        {"containers": st.lists(_CONTAINER, min_size=1, max_size=3, **_UNIQUE)},
        optional={
            "initContainers": st.lists(_CONTAINER, max_size=2, **_UNIQUE),
            "volumes": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from(["data", "onguard-config"])}), max_size=2, **_UNIQUE
            ),
            "hostNetwork": st.booleans(),
            "hostPID": st.booleans(),
            "terminationGracePeriodSeconds": st.integers(0, 600),
            "imagePullSecrets": st.lists(st.just({"name": "theirs"}), max_size=1),
        },
    ),
)
_SETTINGS = st.builds(
    lambda scrape, secrets: replace(SETTINGS, scrape_annotations=scrape, pull_secrets=secrets),
    st.booleans(),
    st.sampled_from([(), ("theirs",), ("ours", "more")]),
)
_GUARDS = st.sampled_from([guard(), guard(resources={"source": "ProcessNamespace"}), guard(reference={"learn": {}})])


@settings(max_examples=300, deadline=None)
@given(_PODS, _GUARDS, _SETTINGS)
def test_twice_is_the_same_as_once(original, by, with_settings):
    once = apply_patch(original, inject(original, by, with_settings).operations)
    assert inject(once, by, with_settings).operations == ()


@settings(max_examples=300, deadline=None)
@given(_PODS, _GUARDS, _SETTINGS)
def test_the_patch_touches_only_what_is_listed_and_replaces_no_array(original, by, with_settings):
    before = copy.deepcopy(original)
    for operation in inject(original, by, with_settings).operations:
        assert any(pattern.fullmatch(operation["path"]) for pattern in TOUCHED), operation["path"]
        if operation["op"] == "replace":
            assert isinstance(operation["value"], (str, int))
        elif isinstance(operation["value"], list):
            assert not original["spec"].get(operation["path"].rpartition("/")[2]), "an array of the pod was replaced"
    assert original == before


@settings(max_examples=300, deadline=None)
@given(_PODS, _GUARDS, _SETTINGS)
def test_all_that_the_user_wrote_is_still_there(original, by, with_settings):
    result = inject(original, by, with_settings)
    now = apply_patch(original, result.operations)
    guarded_by = by.spec.traffic.ports[0].name
    for key in ("initContainers", "volumes", "imagePullSecrets"):
        theirs = original["spec"].get(key) or []
        ours_first = (
            (now["spec"].get(key) or [])[-len(theirs) :] if key == "initContainers" else now["spec"].get(key) or []
        )
        assert ours_first[: len(theirs)] == theirs
    for old, new in zip(original["spec"]["containers"], now["spec"]["containers"], strict=True):
        is_model = any(p.get("name") == guarded_by for p in old.get("ports", ()))
        assert new == old or (isinstance(result, Patch) and is_model)
    assert (now["metadata"].get("labels") or {}).items() >= (original["metadata"].get("labels") or {}).items()


def test_the_list_of_touched_fields_stands_in_the_docs():
    text = (ROOT / "docs" / "injection.md").read_text()
    documented = set(re.findall(r"^\| `(/[^`]+)` \|", text, re.MULTILINE))
    every = {
        "/metadata/labels/onguard.dev~1guarded-by",
        "/metadata/annotations/onguard.dev~1injection",
        "/metadata/annotations/onguard.dev~1model-port",
        "/metadata/annotations/prometheus.io~1scrape",
        "/metadata/annotations/prometheus.io~1port",
        "/metadata/annotations/prometheus.io~1path",
        "/spec/initContainers/0",
        "/spec/volumes/-",
        "/spec/imagePullSecrets/-",
        "/spec/terminationGracePeriodSeconds",
        "/spec/shareProcessNamespace",
        "/spec/containers/N/ports/N/name",
        *(
            f"/spec/containers/N/{handler}/{kind}/port"
            for handler in (
                "startupProbe",
                "readinessProbe",
                "livenessProbe",
                "lifecycle/postStart",
                "lifecycle/preStop",
            )
            for kind in ("httpGet", "tcpSocket")
        ),
        "/spec/containers/N/lifecycle/preStop",
    }
    assert documented == every
    for path in documented:
        assert any(pattern.fullmatch(path.replace("/N/", "/0/")) for pattern in TOUCHED)


def test_a_patch_is_plain_json():
    result = inject(pod(), guard(), SETTINGS)
    assert json.loads(json.dumps(result.operations)) == list(result.operations)
