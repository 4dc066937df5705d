"""``onguard record``: what the operator reads of a model's pods, into a file for ``onguard backtest``."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import aiohttp
import typer
from rich.console import Console

from onguard import contract
from onguard.cli.clusters import NAMESPACE_OPTION, namespace_or_default, with_cluster
from onguard.cli.faults import fail
from onguard.cli.recordings import Opening, Writer
from onguard.frames import Frame, PodFrame
from onguard.quantities import Duration
from onguard.spec import SpecError, parse_spec
from onguard_operator import evaluate, reference, release, tokens
from onguard_operator.cluster import Cluster, Kind
from onguard_operator.objects import Object, condition_of, is_ready, is_terminating, time_of, uid_of
from onguard_operator.observe import Observed, observe
from onguard_operator.scrape import NotReadable, Reading, Scraper, Value

OPERATOR_NAMESPACE: Final = "onguard-system"
READ: Final = "read"


def record(
    name: Annotated[str, typer.Argument(help="The ModelDeployment.")],
    counts_key: Annotated[Path, typer.Option(help="File with the key of /counts, out of the operator's Secret.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the recording goes.")] = Path("counts.ogr"),
    namespace: Annotated[str | None, NAMESPACE_OPTION] = None,
    duration: Annotated[str, typer.Option("--for", help="How long.")] = "1h",
) -> None:
    """
    Record what the operator reads: counters of each guarded pod every 15 s. No payload is in it.

    Pods must be reachable from here, as from inside the cluster. The key is in the Secret "<release>-counts-key" of
    the operator's namespace; who has it can read the counters of every model. What was written so far is readable if
    this is interrupted.
    """
    space = namespace_or_default(namespace)
    try:
        key, seconds = counts_key.read_bytes(), Duration.parse(duration)
    except (OSError, ValueError) as error:
        fail(str(error))
    visits, outcomes = with_cluster(lambda cluster: _record(cluster, (space, name), key, output, seconds))
    silent = {reason: count for reason, count in outcomes.items() if reason != READ}
    Console().print(f"Wrote {output}: {visits} visits, {outcomes[READ]} readings of pods.", highlight=False)
    for reason, count in silent.items():
        Console().print(f"• {count} times a pod could not be read: {reason}", highlight=False)
    if not outcomes[READ]:
        fail("expected counters of at least one guarded pod, got none: there is nothing to replay")


async def _record(
    cluster: Cluster, model: tuple[str, str], key: bytes, output: Path, seconds: float
) -> tuple[int, Counter[str]]:
    seen = await _look(cluster, model)
    token = tokens.counts_token(key, uid_of(seen.mdep))
    profile, _ = reference.read(seen)
    visits, outcomes, end = 0, Counter[str](), time.monotonic() + seconds
    async with aiohttp.ClientSession() as session:
        scraper = Scraper(session)
        with Writer(output, Opening(model[1], profile)) as writer:
            while True:
                began = time.monotonic()
                seen = await _look(cluster, model)
                readings = await scraper.read(evaluate.guarded_pods(seen), token, {})
                writer.add(frame_of(seen, readings, time.time()))  # noqa: TID251 - an entry point
                visits += 1
                outcomes.update(_outcome(reading) for reading in readings.values())
                if began + contract.SCRAPE_S > end:
                    return visits, outcomes
                await asyncio.sleep(max(began + contract.SCRAPE_S - time.monotonic(), 0.0))


def _outcome(reading: Reading) -> str:
    return f"{reading.reason} ({reading.detail})" if isinstance(reading, NotReadable) else READ


async def _look(cluster: Cluster, model: tuple[str, str]) -> Observed:
    mdep = await cluster.get(Kind.MODEL_DEPLOYMENT, *model)
    try:
        spec = parse_spec(mdep["spec"])
    except SpecError as error:
        fail(str(error))
    return await observe(cluster, mdep, spec, operator_namespace=OPERATOR_NAMESPACE)


def frame_of(seen: Observed, readings: Mapping[str, Reading], now: float) -> Frame:
    """
    What one visit saw, as far as its evaluation looks at it.

    Args:
        seen: the cluster.
        readings: by pod uid.
        now: Unix time.
    """
    revisions = release.revisions_of_pods(seen.pods, seen.replica_sets, seen.contents)
    pods = [pod for pod in evaluate.guarded_pods(seen) if uid_of(pod) in revisions]
    return Frame(
        at=now,
        current=release.identity(seen.template, seen.contents) if seen.template else "",
        began=evaluate.began_of(seen, now),
        pods=tuple(_pod_of(pod, revisions[uid_of(pod)], readings.get(uid_of(pod))) for pod in pods),
    )


def _pod_of(pod: Object, revision: str, reading: Reading | None) -> PodFrame:
    born = time_of(pod["metadata"].get("creationTimestamp"))
    ready = time_of((condition_of(pod, "Ready") or {}).get("lastTransitionTime")) if is_ready(pod) else None
    return PodFrame(
        uid=uid_of(pod),
        revision=revision,
        arm=release.arm_of(pod),
        born=born.timestamp() if born else 0.0,
        ready_at=ready.timestamp() if ready else None,
        terminating=is_terminating(pod),
        report=reading.report if isinstance(reading, Value) else None,
    )
