"""
A real cluster, a model, a guard, a bad release and its rollback, shifted data and its retraining: ``make demo``.

It can be run twice; what it makes lies in the namespaces ``shop`` and ``onguard-system`` of the local cluster and
stays there to be looked at (``make cluster-down`` takes everything away).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from onguard import contract  # noqa: E402
from tests.models.load import Background  # noqa: E402
from tests.models.traffic import Mix  # noqa: E402
from tests.monitoring import queries  # noqa: E402
from tests.stage import chart, reference, route  # noqa: E402
from tests.stage.kube import Kube, StageError, cluster_up, our_cluster, wait_for  # noqa: E402
from tests.stage.shop import NAME, Shop, wait_tally  # noqa: E402

SPACE: Final = "shop"
MANIFESTS: Final = "tests/demo/manifests"
RATE: Final = 60.0
QUIET_S: Final = 45.0
BAKE_S: Final = 130.0
SHIFT: Final = Mix(shift={"monthly_charge": 15.0})
SHOWN: Final = (
    contract.METRIC_REQUESTS,
    f"{contract.METRIC_REQUEST_DURATION}_count",
    contract.METRIC_TEE_REQUESTS,
    contract.METRIC_FEATURE_PSI + "{",
    contract.METRIC_MODEL_MEMORY + "{",
)
_started: Final = time.monotonic()


def say(text: str) -> None:
    """One line of progress with the time since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _started), 60)
    print(f"[{minutes:02d}:{seconds:02d}] {text}", flush=True)


def show(kube: Kube, *arguments: str) -> None:
    """Run kubectl as a person would, with its command line and its output."""
    print(f"\n    $ kubectl {' '.join(arguments)}")
    print("".join(f"    {line}\n" for line in kube.kubectl(*arguments).rstrip().splitlines()), flush=True)


def install() -> Kube:
    """Cluster, images, chart."""
    say("1  a Kubernetes cluster (the first time it is compiled, which takes some minutes)")
    cluster_up()
    say("2  images of OnGuard and of the sample model")
    if subprocess.run(["make", "--no-print-directory", "images"], cwd=ROOT).returncode != 0:
        raise StageError("the images cannot be built, see above")
    kube = our_cluster()
    route.ensure(kube)
    say("3  helm install --wait onguard")
    chart.install(kube)
    show(kube, "get", "pods", "-n", chart.NAMESPACE)
    return kube


def serve(kube: Kube, folder: Path) -> Shop:
    """The model as its team serves it, then the guard."""
    say(f"4  namespace {SPACE} (Pod Security restricted) with the model; nothing in it knows of OnGuard")
    shop = Shop(kube, SPACE, reference.profile(folder))
    if kube.get("namespace", SPACE):
        say("   an earlier demo is there: it is cleared away")
        kube.kubectl("delete", "namespace", SPACE, "--wait=true", "--timeout=120s", timeout_s=130)
    shop.open()
    say("   OnGuard may act in this namespace: a RoleBinding (see 1-namespace.yaml)")
    for file in ("2-model.yaml", "3-retraining.yaml"):
        kube.kubectl("apply", "-f", f"{MANIFESTS}/{file}")
    kube.kubectl("rollout", "status", "-n", SPACE, f"deployment/{NAME}", "--timeout=120s", timeout_s=130)
    shop.wait_answers()
    show(kube, "get", "pods", "-n", SPACE)
    return shop


def guard(shop: Shop) -> None:
    """Apply the ModelDeployment; OnGuard restarts the pods with their sidecars, under traffic."""
    say("5  kubectl apply the ModelDeployment: pods are restarted with their sidecars, no request is lost")
    with shop.load(rate=RATE) as load:
        shop.kube.kubectl("apply", "-f", f"{MANIFESTS}/4-modeldeployment.yaml")
        shop.wait_condition(contract.CONDITION_TRAFFIC_GUARDED, "True", timeout_s=180)
    show(shop.kube, "get", "pods", "-n", SPACE)
    show(shop.kube, "get", "mdep", "-n", SPACE)
    say(f"   during the restart: {load.tally}")
    if load.tally.failed:
        raise StageError(f"{load.tally.failed} requests failed during the restart: this should not happen")


def metrics(shop: Shop) -> None:
    """A few lines of a sidecar's page."""
    pod = shop.pods()[0]
    url = f"http://{pod['status']['podIP']}:{contract.PORT_ADMIN}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        lines = response.read().decode().splitlines()
    print(f"\n    $ curl {url}   # {len(lines)} lines, some of them:")
    for start in SHOWN:
        shown = [line for line in lines if line.startswith(start) and not line.endswith(" 0.0")]
        print("".join(f"    {line}\n" for line in shown[:3]), end="")
    print(f"    (Grafana: {queries.FILES.relative_to(ROOT)}/dashboard.json)\n", flush=True)


def bad_release(shop: Shop, load: Background) -> None:
    """Version 2 forgets to scale its inputs."""
    say("7  version 2 is released: its preprocessing has a bug (answers differ, about a third fail)")
    shop.kube.kubectl("set", "env", "-n", SPACE, f"deployment/{NAME}", "VERSION=2", "BUG=scaling")
    wait_tally(load, "500", 1, timeout_s=180)
    say("   clients see the first failed answers; one pod of version 1 stays as the baseline arm")
    began = time.monotonic()
    decision = shop.wait_decision(cause="release", action="Rollback", timeout_s=180)
    say(f"   decided {time.monotonic() - began:.0f} s after the first failure: {decision['spec']['message']}")
    shop.wait_phase(decision["metadata"]["name"], "Succeeded", timeout_s=240)
    shop.wait_served("1", timeout_s=180)
    say(f"   version 1 serves again; so far {load.tally}")
    explain(shop, decision["metadata"]["name"])


def shifted_data(shop: Shop, load: Background) -> None:
    """The world moves."""
    say(f"8  quiet for {BAKE_S:.0f} s: a retraining is not started for a revision that has not baked")
    time.sleep(BAKE_S)
    say("9  prices rise by 15: the inputs' distribution moves, the release is the same")
    load.change(SHIFT)
    began = time.monotonic()
    decision = shop.wait_decision(cause="population", action="Retrain", timeout_s=240)
    say(f"   decided after {time.monotonic() - began:.0f} s: {decision['spec']['message']}")
    job = wait_for("the retraining Job", shop.jobs, timeout_s=60)[0]["metadata"]["name"]
    shop.kube.kubectl("wait", "-n", SPACE, f"job/{job}", "--for=condition=complete", "--timeout=120s", timeout_s=130)
    explain(shop, decision["metadata"]["name"])
    printed = json.loads(shop.kube.kubectl("logs", "-n", SPACE, f"job/{job}", "-c", "train").splitlines()[0])
    print(f"    Job {job} was given: {json.dumps(printed)[:600]} ...\n", flush=True)


def explain(shop: Shop, name: str) -> None:
    """A Decision in its own words and numbers."""
    decision = shop.kube.get("decision", name, SPACE) or {}
    for entry in decision.get("spec", {}).get("evidence", ()):
        numbers = " ".join(f"{key}={entry[key]:.4g}" for key in ("value", "low", "high") if key in entry)
        print(f"       evidence  {entry['name']}: {numbers} {entry.get('unit', '')} {entry.get('detail', '')}".rstrip())
    for entry in decision.get("spec", {}).get("alternatives", ()):
        print(f"       not       {entry['cause']}: {entry['why']}")
    print(f"       outcome   {decision.get('status', {}).get('message', '')}\n", flush=True)


def play() -> None:
    """The whole demo."""
    kube = install()
    with tempfile.TemporaryDirectory() as folder:
        shop = serve(kube, Path(folder))
    guard(shop)
    with shop.load(rate=RATE, connections=12) as load:
        say(f"6  {RATE:.0f} requests/s for {QUIET_S:.0f} s: metrics flow, nothing is decided")
        time.sleep(QUIET_S)
        metrics(shop)
        if shop.decisions():
            raise StageError("a decision was made on quiet traffic: this should not happen")
        bad_release(shop, load)
        shifted_data(shop, load)
    say("10 what there is to see")
    show(kube, "get", "mdep,decisions", "-n", SPACE)
    say(f"done: {load.tally}; failures that the model did not make: {load.tally.not_by_model}")
    look_next(kube, shop.url())


def look_next(kube: Kube, url: str) -> None:
    """Where to go from here."""
    print(f"""
Look next:
    export KUBECONFIG={kube.kubeconfig}
    kubectl -n {SPACE} describe mdep {NAME}              # conditions, evidence for each objective
    kubectl -n {SPACE} get decisions -o yaml           # the records: evidence, alternatives, blockers, outcome
    kubectl -n {SPACE} describe pod -l app={NAME}        # what injection changed
    .venv/bin/python -m tests.models.load {url} --seconds 120 --missing data_gb=0.4   # broken upstream data: hold
    make cluster-down                                  # take everything away
""")


def main(run: Callable[[], None] = play) -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    try:
        run()
    except (StageError, subprocess.TimeoutExpired, OSError) as error:
        say(f"the demo cannot go on: {str(error).splitlines()[0]}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; `make cluster-down` takes everything away")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
