"""What Helm makes of the chart, with its defaults and with each choice of its values."""

import re
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from onguard import contract
from onguard_operator import settings as operator_settings
from onguard_operator.gate import settings as gate_settings
from tests.chart_rendering import CHART, NAMESPACE, HelmError, of_kind, render
from tests.toolchain import program

MONITORING = (
    "--api-versions=monitoring.coreos.com/v1/PodMonitor",
    "--api-versions=monitoring.coreos.com/v1/PrometheusRule",
)
CERT_MANAGER = ("--set=webhook.certificate.source=CertManager",)
SECRET = (
    "--set=webhook.certificate.source=Secret",
    "--set=webhook.certificate.secretName=own-tls",
    "--set=webhook.certificate.caBundle=PEM",
)
VARIANTS = {
    "defaults": (),
    "monitoring": MONITORING,
    "cert-manager": CERT_MANAGER,
    "issuer": (*CERT_MANAGER, "--set=webhook.certificate.issuerRef.name=x"),
    "own secrets": (*SECRET, "--set=countsKey.existingSecret=k", "--set=gate.alerts.existingSecret=t"),
    "actions": ("--set=actions.namespaces={shop,lab}",),
    "pull secrets": ("--set=imagePullSecrets[0].name=reg", "--set=sidecar.imagePullSecrets={reg}"),
    "nothing optional": (
        "--set=crds.install=false",
        "--set=networkPolicy.enabled=false",
        "--set=admissionPolicies.enabled=false",
        "--set=monitoring.dashboard=false",
    ),
    "placement": (
        "--set=operator.nodeSelector.a=b",
        "--set=gate.tolerations[0].key=k",
        "--set=gate.podAnnotations.x=y",
        "--set=operator.extraEnv[0].name=A",
        "--set-string=operator.extraEnv[0].value=1",
    ),
}
FOREIGN = {"PodMonitor", "PrometheusRule", "Certificate", "Issuer"}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=list(VARIANTS))
@pytest.mark.parametrize("version", ["1.32", "1.34"])
def test_every_object_is_valid_in_strict_mode(options, version):
    for document in render(f"--kube-version={version}.0", *options):
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_chart_passes_lint():
    done = subprocess.run(
        [program("helm"), "lint", "--strict", "--kube-version=1.34.0", str(CHART)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_cluster_older_than_the_minimum_is_refused():
    with pytest.raises(HelmError, match=r"requires kubeVersion: >=1\.32"):
        render("--kube-version=1.31.9")


def test_the_chart_and_the_contract_agree_on_the_minimum():
    declared = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    assert declared == ">={}.{}.0-0".format(*contract.MINIMUM_KUBERNETES)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--set=unknown=1", "additional properties 'unknown' not allowed"),
        ("--set=image.sidecar.repository=", "image.sidecar.repository|/image/sidecar/repository"),
        ("--set=image.sidecar.pullPolicy=Sometimes", "pullPolicy"),
        ("--set=image.operator.digest=sha256:12", "digest"),
        ("--set=gate.replicas=-1", "replicas"),
        ("--set=sidecar.wire.resources.limits.cpu=1", "cpu"),
        ("--set=sidecar.drainSleepSeconds=0", "drainSleepSeconds"),
        ("--set=webhook.certificate.source=Magic", "source"),
        ("--set=webhook.certificate.source=Secret", "certificate"),
        ("--set=actions.namespaces={A}", "namespaces"),
    ],
)
def test_a_wrong_value_is_refused_by_name(option, said):
    with pytest.raises(HelmError) as refused:
        render(option)
    assert re.search(said, str(refused.value)), refused.value


# --- the webhook ----------------------------------------------------------------------------------------------


def test_the_webhook_is_exactly_what_the_design_says():
    (configuration,) = of_kind(render(), "MutatingWebhookConfiguration")
    (webhook,) = configuration["webhooks"]
    assert webhook.pop("clientConfig").keys() == {"service", "caBundle"}
    assert webhook == {
        "name": "pods.onguard.dev",
        "admissionReviewVersions": ["v1"],
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }
        ],
        "namespaceSelector": {
            "matchLabels": {contract.LABEL_INJECT: "enabled"},
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
            ],
        },
        "failurePolicy": "Ignore",
        "timeoutSeconds": 3,
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "NoneOnDryRun",
    }


def test_the_webhook_reaches_the_gate():
    documents = render()
    (configuration,) = of_kind(documents, "MutatingWebhookConfiguration")
    called = configuration["webhooks"][0]["clientConfig"]["service"]
    (service,) = of_kind(documents, "Service")
    (gate,) = of_kind(documents, "Deployment", "onguard-gate")
    assert (called["name"], called["namespace"]) == (service["metadata"]["name"], service["metadata"]["namespace"])
    ports = {p["port"]: p["targetPort"] for p in service["spec"]["ports"]}
    listens = {p["name"]: p["containerPort"] for p in gate["spec"]["template"]["spec"]["containers"][0]["ports"]}
    assert listens[ports[called["port"]]] == gate_settings.PORT_WEBHOOK
    assert listens[ports[9094]] == gate_settings.PORT_ALERTS
    assert service["spec"]["selector"].items() <= gate["spec"]["template"]["metadata"]["labels"].items()


def test_a_generated_certificate_is_for_the_service_and_signed_by_the_bundle(tmp_path):
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import padding

    documents = render()
    (secret,) = of_kind(documents, "Secret", "onguard-webhook-tls")
    (configuration,) = of_kind(documents, "MutatingWebhookConfiguration")
    bundle = base64.b64decode(configuration["webhooks"][0]["clientConfig"]["caBundle"])
    authority = x509.load_pem_x509_certificate(bundle)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"onguard-gate.{NAMESPACE}.svc" in names.get_values_for_type(x509.DNSName)
    algorithm = certificate.signature_hash_algorithm
    authority.public_key().verify(
        certificate.signature, certificate.tbs_certificate_bytes, padding.PKCS1v15(), algorithm
    )
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days >= 700


@pytest.mark.parametrize(
    ("options", "secret", "made"),
    [(CERT_MANAGER, "onguard-webhook-tls", {"Certificate", "Issuer"}), (SECRET, "own-tls", set())],
)
def test_the_certificate_may_come_from_elsewhere(options, secret, made):
    documents = render(*options)
    (gate,) = of_kind(documents, "Deployment", "onguard-gate")
    mounted = {v["name"]: v.get("secret", {}).get("secretName") for v in gate["spec"]["template"]["spec"]["volumes"]}
    assert mounted["webhook"] == secret
    assert {d["kind"] for d in documents} & {"Certificate", "Issuer"} == made
    assert of_kind(documents, "Secret", "onguard-webhook-tls") == []


# --- the programs ---------------------------------------------------------------------------------------------


def container(name, *options):
    (deployment,) = of_kind(render(*options), "Deployment", f"onguard-{name}")
    return deployment, deployment["spec"]["template"]["spec"]["containers"][0]


def test_the_operator_is_one_that_ends_before_the_next():
    deployment, program_of = container("operator")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert program_of["command"][:2] == ["python3", "-m"]


def test_the_gate_is_two_that_do_not_go_together():
    deployment, program_of = container("gate")
    assert deployment["spec"]["replicas"] == 2
    assert program_of["command"] == ["python3", "-m", "onguard_operator.gate"]
    (budget,) = of_kind(render(), "PodDisruptionBudget")
    assert budget["spec"]["selector"] == deployment["spec"]["selector"]
    assert "podAntiAffinity" in deployment["spec"]["template"]["spec"]["affinity"]


@pytest.mark.parametrize("name", ["operator", "gate"])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=list(VARIANTS))
def test_both_run_under_pod_security_restricted(name, options):
    deployment, program_of = container(name, *options)
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert program_of["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all(set(volume) & {"secret", "emptyDir"} for volume in pod["volumes"])
    assert program_of["resources"]["limits"]["memory"]


def test_the_environment_of_the_gate_can_be_read_by_the_gate():
    _, program_of = container("gate", "--set=sidecar.imagePullSecrets={a,b}")
    env = {e["name"]: e.get("value", "from-a-field") for e in program_of["env"]}
    cluster = {gate_settings.ENV_API_HOST: "10.96.0.1", gate_settings.ENV_API_PORT: "443"}
    read = gate_settings.from_env({**env, **cluster})
    assert read.sidecar_image == "onguard/sidecar:0.1.0"
    assert read.pull_secrets == ("a", "b")
    assert "cpu" not in read.wire_resources["limits"]
    assert read.scrape_annotations is True
    known = {v for k, v in vars(gate_settings).items() if k.startswith("ENV_")}
    assert set(env) <= known


def test_the_gate_adds_no_scrape_annotations_where_a_pod_monitor_exists():
    _, program_of = container("gate", *MONITORING)
    assert {"name": "ONGUARD_SCRAPE_ANNOTATIONS", "value": "false"} in program_of["env"]


def test_the_environment_of_the_operator_can_be_read_by_the_operator():
    _, program_of = container("operator")
    env = {e["name"]: e.get("value", "from-a-field") for e in program_of["env"]}
    read = operator_settings.Settings.from_env(env)
    assert read.sidecar_image == "onguard/sidecar:0.1.0"
    mounts = {m["mountPath"] for m in program_of["volumeMounts"]}
    assert str(read.key_file.parent) in mounts


def test_an_image_is_named_by_digest_where_one_is_given():
    digest = "sha256:" + "a" * 64
    _, program_of = container("operator", f"--set=image.operator.digest={digest}", "--set-string=image.operator.tag=1")
    assert program_of["image"] == f"onguard/operator@{digest}"


# --- rights ---------------------------------------------------------------------------------------------------

ALLOWED = Path(__file__).with_name("rbac.txt").read_text().splitlines()


def rights(documents):
    for document in documents:
        for rule in document.get("rules", ()) if document["kind"] in {"Role", "ClusterRole"} else ():
            for resource in rule["resources"]:
                group = rule["apiGroups"][0] or "core"
                yield from (
                    f"{document['kind']} {document['metadata']['name']}: {verb} {resource}.{group}"
                    for verb in rule["verbs"]
                )


def test_the_rights_are_those_of_the_list_and_no_others():
    assert sorted(rights(render())) == sorted(line for line in ALLOWED if line and not line.startswith("#"))


def test_no_right_is_a_wildcard_or_reaches_secrets_webhooks_or_rights():
    for line in rights(render()):
        assert "*" not in line
        what = line.rpartition(" ")[2]
        assert not what.startswith(("secrets.", "pods/exec", "nodes", "serviceaccounts"))
        assert "rbac.authorization" not in what
        assert "admissionregistration" not in what


def test_the_right_to_act_is_bound_in_the_named_namespaces_only():
    bound = of_kind(render("--set=actions.namespaces={shop,lab}"), "RoleBinding", "onguard-actor")
    assert [b["metadata"]["namespace"] for b in bound] == ["shop", "lab"]
    assert of_kind(render(), "RoleBinding", "onguard-actor") == []
    assert "onguard-actor" not in [b["roleRef"]["name"] for b in of_kind(render(), "ClusterRoleBinding")]


def test_every_binding_names_a_role_and_an_account_of_the_chart():
    documents = render("--set=actions.namespaces={shop}")
    roles = {(d["kind"], d["metadata"]["name"]) for d in documents if d["kind"] in {"Role", "ClusterRole"}}
    accounts = {d["metadata"]["name"] for d in of_kind(documents, "ServiceAccount")}
    for binding in [*of_kind(documents, "RoleBinding"), *of_kind(documents, "ClusterRoleBinding")]:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
        assert {s["name"] for s in binding["subjects"]} <= accounts


# --- monitoring and the rest ----------------------------------------------------------------------------------


def test_prometheus_kinds_exist_only_where_the_cluster_knows_them():
    assert {d["kind"] for d in render()} & FOREIGN == set()
    documents = render(*MONITORING)
    (rule,) = of_kind(documents, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    sidecars, own = (
        of_kind(documents, "PodMonitor", "onguard-sidecars")[0],
        of_kind(documents, "PodMonitor", "onguard")[0],
    )
    assert sidecars["spec"]["selector"]["matchExpressions"][0]["key"] == contract.LABEL_GUARDED_BY
    assert sidecars["spec"]["podMetricsEndpoints"][0]["port"] == contract.PORT_NAME_ADMIN
    assert own["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"


@pytest.mark.parametrize("name", ["operator", "gate"])
@pytest.mark.parametrize(("options", "expected"), [((), "9090"), (MONITORING, None)])
def test_scrape_annotations_stand_in_for_a_pod_monitor(name, options, expected):
    deployment, program_of = container(name, *options)
    found = deployment["spec"]["template"]["metadata"].get("annotations", {})
    assert found.get("prometheus.io/port") == expected
    assert {p["name"]: p["containerPort"] for p in program_of["ports"]}["metrics"] == 9090


def test_grafana_finds_the_dashboard():
    (board,) = of_kind(render(), "ConfigMap", "onguard-dashboard")
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert board["data"]["onguard-model.json"] == (CHART / "files" / "dashboard.json").read_text()


@pytest.mark.parametrize("name", ["operator", "gate"])
def test_a_network_policy_lets_in_what_listens_and_nothing_else(name):
    _, program_of = container(name)
    (policy,) = of_kind(render(), "NetworkPolicy", f"onguard-{name}")
    opened = {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]}
    assert opened == {p["containerPort"] for p in program_of["ports"]}


def test_the_operator_may_reach_the_sidecars():
    (policy,) = of_kind(render(), "NetworkPolicy", "onguard-operator")
    assert contract.PORT_ADMIN in {p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]}


def test_crds_are_plain_templates_that_stay():
    crds = of_kind(render(), "CustomResourceDefinition")
    assert {c["metadata"]["annotations"]["helm.sh/resource-policy"] for c in crds} == {"keep"}
    assert len(crds) == 2
    assert of_kind(render("--set=crds.install=false"), "CustomResourceDefinition") == []
    assert not (CHART / "crds").exists()


def test_namespaced_objects_name_their_namespace():
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "MutatingWebhookConfiguration"}
    for document in render(*MONITORING, "--set=actions.namespaces={shop}"):
        if document["kind"] not in cluster_wide and not document["kind"].startswith("ValidatingAdmissionPolicy"):
            assert document["metadata"]["namespace"] in {NAMESPACE, "shop"}


def test_a_long_release_name_gives_valid_names():
    command = [program("helm"), "template", "x" * 53, str(CHART), "-n", "n", "--kube-version=1.34.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for document in yaml.safe_load_all(done.stdout):
        assert len(document["metadata"]["name"]) <= 63
