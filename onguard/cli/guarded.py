"""``onguard status`` and ``onguard approve``: what is guarded, and a person's yes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from onguard import contract
from onguard.cli.clusters import NAMESPACE_OPTION, namespace_or_default, with_cluster
from onguard.cli.faults import fail
from onguard.decide import Phase
from onguard_operator import records
from onguard_operator.cluster import Cluster, Kind
from onguard_operator.objects import Object, condition_of, name_of, namespace_of

MANAGER: Final = "onguard-cli"
_WORDS: Final = ("name", "phase", "guarded", "healthy", "revision", "state", "status", "action")


def status(
    name: Annotated[str | None, typer.Argument(help="One ModelDeployment; without it all are listed.")] = None,
    namespace: Annotated[str | None, NAMESPACE_OPTION] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="List all namespaces.")] = False,
) -> None:
    """Show what is guarded, how it is, and what was decided."""
    space = None if all_namespaces and name is None else namespace_or_default(namespace)
    console = Console()
    if name is None:
        found = with_cluster(lambda cluster: cluster.list(Kind.MODEL_DEPLOYMENT, space))
        if not found:
            console.print(f"No ModelDeployments in {space or 'any namespace'}.", highlight=False)
            return
        console.print(table_of(found))
        return
    mdep, decisions = with_cluster(lambda cluster: _one(cluster, space or "", name))
    console.print(table_of([mdep]))
    for table in details_of(mdep, decisions):
        console.print(table)


async def _one(cluster: Cluster, namespace: str, name: str) -> tuple[Object, list[Object]]:
    mdep = await cluster.get(Kind.MODEL_DEPLOYMENT, namespace, name)
    labels = {contract.LABEL_MODEL_DEPLOYMENT: name}
    decisions = await cluster.list(Kind.DECISION, namespace, labels=labels)
    return mdep, sorted(decisions, key=lambda d: str(d["metadata"].get("creationTimestamp", "")))


def table_of(mdeps: Sequence[Object]) -> Table:
    """One line a ModelDeployment."""
    names = ("namespace", "name", "phase", "guarded", "healthy", "revision", "alarms", "last decision")
    rows = [_summary(mdep) for mdep in sorted(mdeps, key=lambda m: (namespace_of(m), name_of(m)))]
    return _table("", names, rows)


def _summary(mdep: Object) -> list[str]:
    now: Mapping[str, Any] = mdep.get("status") or {}
    last = now.get("lastDecision") or {}
    said = " ".join(str(last[key]) for key in ("name", "phase") if last.get(key))
    conditions = [(condition_of(mdep, kind) or {}).get("status", "") for kind in ("TrafficGuarded", "Healthy")]
    alarms = ", ".join(now.get("alarms") or ())
    plain = (str(now.get("phase", "")), *map(str, conditions), str(now.get("revision", "")), alarms, said)
    return [namespace_of(mdep), name_of(mdep), *plain]


def details_of(mdep: Object, decisions: Sequence[Object]) -> list[Table]:
    """Conditions that do not hold, evidence, and the last decisions."""
    now: Mapping[str, Any] = mdep.get("status") or {}
    broken = [c for c in now.get("conditions") or () if c.get("status") != "True"]
    tables = []
    if broken:
        rows = [[str(c[key]) for key in ("type", "status", "reason", "message")] for c in broken]
        tables.append(_table("Conditions that do not hold", ("condition", "status", "reason", "message"), rows))
    if now.get("evidence"):
        rows = [_evidence(row) for row in now["evidence"]]
        tables.append(_table("Evidence", ("objective", "state", "ln evidence", "of", "detail"), rows))
    if decisions:
        rows = [_decision(decision) for decision in decisions[-5:]]
        tables.append(_table("Last decisions", ("decision", "cause", "action", "phase", "message"), rows))
    return tables


def _evidence(row: Mapping[str, Any]) -> list[str]:
    numbers = [f"{row[key]:.1f}" if key in row else "" for key in ("logE", "logThreshold")]
    return [str(row["objective"]), str(row.get("state", "")), *numbers, str(row.get("detail", ""))]


def _decision(decision: Object) -> list[str]:
    spec = decision["spec"]
    message = (decision.get("status") or {}).get("message") or spec.get("message", "")
    phase = records.phase_of(decision).value
    return [name_of(decision), str(spec.get("cause", "")), str(spec["action"]), phase, str(message)]


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        is_word = name in _WORDS
        table.add_column(name, overflow="fold", no_wrap=is_word)
    for row in rows:
        table.add_row(*row)
    return table


def approve(
    decision: Annotated[str, typer.Argument(help="Name of a Decision that awaits approval.")],
    namespace: Annotated[str | None, NAMESPACE_OPTION] = None,
) -> None:
    """
    Approve a Decision under your own name, as the API server knows you.

    Needs the verb "approve" on decisions.onguard.dev. The operator acts at its next visit, if nothing blocks it.
    """
    space = namespace_or_default(namespace)
    who = with_cluster(lambda cluster: _approve(cluster, space, decision))
    Console().print(f"Decision {decision} approved by {who}.", highlight=False)


async def _approve(cluster: Cluster, namespace: str, name: str) -> str:
    decision = await cluster.get(Kind.DECISION, namespace, name)
    phase = records.phase_of(decision)
    if phase is not Phase.AWAITING_APPROVAL:
        fail(f"expected a Decision that awaits approval, got {name} in phase {phase.value}")
    who = await _caller(cluster)
    change = {"metadata": {"annotations": {contract.ANNOTATION_APPROVE: who}}}
    await cluster.patch(Kind.DECISION, decision, change, manager=MANAGER)
    return who


async def _caller(cluster: Cluster) -> str:
    review = {"apiVersion": Kind.SELF_REVIEW.api_version, "kind": Kind.SELF_REVIEW.kind}
    answer = await cluster.create(Kind.SELF_REVIEW, review)
    who = str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")
    if not who:
        fail("expected the API server to say who you are, got no user name")
    return who
