"""Conditions about the target itself: is it there, and may it be acted on? Pure."""

from collections.abc import Sequence
from typing import Final

from onguard import contract
from onguard_operator import config_maps
from onguard_operator.cluster import ClusterError
from onguard_operator.objects import namespace_of
from onguard_operator.observe import Observed
from onguard_operator.status import Condition, fails, holds

RETURN: Final = "mend your own and apply your manifest again to return to it"


def target_found(seen: Observed) -> Condition:
    """Say whether the target is there, and which copies of ConfigMaps its template names since a rollback."""
    kind, name = contract.CONDITION_TARGET_FOUND, seen.spec.target_ref.name
    if seen.target is None:
        return fails(kind, "TargetNotFound", f"there is no Deployment {name} in this namespace")
    copies = config_maps.shown(seen.target["spec"]["template"])
    return holds(kind, "Found", f"Deployment {name}{f', with {copies}: {RETURN}' if copies else ''}")


def actions_allowed(
    seen: Observed, failed: Sequence[tuple[object, ClusterError]], operator_namespace: str
) -> Condition:
    """Say whether the operator may act here, and whether what it did at this visit succeeded."""
    kind = contract.CONDITION_ACTIONS_ALLOWED
    wanted = [("patch deployments", seen.may_restart), ("create jobs", seen.may_retrain)]
    if seen.spec.actions.retrain.from_ is None:
        wanted = wanted[:1]
    missing = [what for what, allowed in wanted if not allowed]
    if missing:
        fix = (
            f"kubectl create rolebinding onguard-actor -n {namespace_of(seen.mdep)} --clusterrole=onguard-actor "
            f"--serviceaccount={operator_namespace}:onguard-operator"
        )
        text = f"the operator may not {' and '.join(missing)} here: decisions are recorded, nothing is done; fix: {fix}"
        return fails(kind, "ActionsForbidden", text)
    if failed:
        step, error = failed[0]
        return fails(kind, "StepFailed", f"{type(step).__name__}: {error}")
    return holds(kind, "Allowed", "the operator may restart, roll back and retrain here")
