"""
Names of the objects that we make: each composed in one place, each deterministic.

A name that derives from what it stands for makes a repeated act harmless: creating it twice is ``AlreadyExists``.
"""

import hashlib
from typing import Final

MAX_NAME: Final = 63
"""Longest name that is also a label value; names of Jobs become labels of their pods."""
_DIGITS: Final = 10


def digest(*parts: str) -> str:
    """
    Ten hex digits for a sequence of texts; ("ab", "c") and ("a", "bc") differ.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    text = "\x00".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _with_suffix(name: str, suffix: str) -> str:
    """Append a suffix; a name that would be too long is cut and told apart by its digest."""
    if len(name) + len(suffix) <= MAX_NAME:
        return name + suffix
    mark = f"-{digest(name)}"
    return name[: MAX_NAME - len(suffix) - len(mark)].rstrip("-.") + mark + suffix


def sidecar_config_name(model_deployment: str) -> str:
    """
    ConfigMap that both containers of a sidecar mount.

    >>> sidecar_config_name("churn")
    'churn-onguard'
    >>> len(sidecar_config_name("x" * 200))
    63
    """
    return _with_suffix(model_deployment, "-onguard")


def learned_profile(model_deployment: str) -> str:
    """ConfigMap with the reference that was learned from live traffic."""
    return _with_suffix(model_deployment, "-onguard-learned")


def baseline(model_deployment: str) -> str:
    """ReplicaSet of the baseline arm."""
    return _with_suffix(model_deployment, "-onguard-baseline")


def good_revision(model_deployment: str, revision: str) -> str:
    """ControllerRevision that keeps the template of a good revision."""
    return _with_suffix(model_deployment, f"-onguard-{revision}")


def config_map_copy(model_deployment: str, name: str, content: str) -> str:
    """
    ConfigMap that keeps the content of the user's ConfigMap ``name``; the same content has the same name.

    >>> config_map_copy("churn", "churn-settings", "0123456789")
    'churn-onguard-copy-c81ca51e22'
    """
    return _with_suffix(model_deployment, f"-onguard-copy-{digest(name, content)}")


def decision(model_deployment: str, name_hash: str) -> str:
    """
    Decision about one breach; ``name_hash`` tells breaches apart (``onguard.decide.short_hash``).

    >>> decision("churn", "0123456789")
    'churn-0123456789'
    """
    return _with_suffix(model_deployment, f"-{name_hash}")


def retrain_job(decision_name: str) -> str:
    """Job, and ConfigMap with its evidence, of one Decision."""
    return _with_suffix(decision_name, "-retrain")


def evidence(uid: str) -> str:
    """ConfigMap in the operator's namespace that keeps the evidence of one ModelDeployment."""
    return f"onguard-evidence-{uid}"


def event(involved_uid: str, reason: str, stamp: str) -> str:
    """Kubernetes Event about one transition."""
    return f"onguard-{digest(involved_uid, reason, stamp)}"
