"""
Kopf's part: it tells that something has changed, and that the process begins or ends. What to do is not decided here.

``kopf run -m onguard_operator.handlers --standalone --all-namespaces``, or ``python -m onguard_operator``.

Only ``on.event`` is used: it is level-based, adds no finalizer to an object of a user, and writes no annotation.
Both kinds that are watched are our own, so that neither can be absent or forbidden while the chart is installed.
"""

import itertools
import os
import random
from collections.abc import Iterator
from typing import Any, Final

import kopf

from onguard import contract
from onguard_operator.service import Service

LONGEST_BACKOFF_S: Final = 30


class Backoffs:
    """Seconds between tries, for ever: kopf ends the process when the list ends, so an outage must not end it."""

    def __iter__(self) -> Iterator[float]:
        """1, 2, 4 ... 30, 30 ... seconds, each a little less by chance so that clients spread."""
        doubling = (min(2**n, LONGEST_BACKOFF_S) for n in itertools.chain(range(6), itertools.repeat(5)))
        return (seconds * random.uniform(0.8, 1.0) for seconds in doubling)  # noqa: S311 - spreads load


@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: Any, **_: Any) -> None:
    """Configure kopf and start everything else."""
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.admission.managed = None
    settings.watching.server_timeout = 600
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = Backoffs()
    settings.process.ultimate_exiting_timeout = 20
    memo.service = await Service.start(os.environ)


@kopf.on.cleanup()
async def stop(memo: Any, **_: Any) -> None:
    """Save what is remembered and give the Lease back."""
    await memo.service.stop()


@kopf.on.event(contract.GROUP, contract.VERSION, contract.MODEL_DEPLOYMENTS)
async def on_model_deployment(meta: kopf.Meta, memo: Any, **_: Any) -> None:
    """Visit what has changed; an object that is gone is found out by the visit itself."""
    memo.service.poke(meta["namespace"], meta["name"])


@kopf.on.event(contract.GROUP, contract.VERSION, contract.DECISIONS)
async def on_decision(meta: kopf.Meta, spec: kopf.Spec, memo: Any, **_: Any) -> None:
    """Visit the model that a Decision is about: it may be an alert's request, or have been approved."""
    memo.service.poke(meta["namespace"], spec["modelDeployment"]["name"])
