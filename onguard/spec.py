"""
ModelDeployment's spec as frozen values, parsed with JSON-path errors.

The API server has validated the object already (schema and CEL of the CRD); what is parsed here may still come
from an older CRD, so faults are reported the same way: what was expected, what came, where.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from onguard.quantities import Duration, Ratio


class SpecError(ValueError):
    """The spec can't be read; the text names the field by its JSON path."""


class Mode(StrEnum):
    """How far an action may go by itself."""

    AUTOMATIC = "Automatic"
    APPROVE = "Approve"
    DRY_RUN = "DryRun"
    OFF = "Off"


class Takeover(StrEnum):
    """How traffic comes to the wire."""

    NAMED_PORT = "NamedPort"
    SERVICE = "Service"


class Rollout(StrEnum):
    """Who restarts pods that run without a sidecar."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class BaselineMode(StrEnum):
    """What the new revision is compared with."""

    NONE = "None"
    SERVE = "Serve"
    SHADOW = "Shadow"


class ResourceSource(StrEnum):
    """Where CPU and memory of the model's container come from."""

    METRICS_API = "MetricsAPI"
    PROCESS_NAMESPACE = "ProcessNamespace"
    NONE = "None"


class Redaction(StrEnum):
    """What happens to a field before it is counted."""

    DROP = "Drop"
    HASH = "Hash"


class _Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Unknown fields are ignored: an older program reads a newer object."""


class TargetRef(_Struct, frozen=True):
    """The workload that serves the model, in the same namespace."""

    name: str
    api_version: str = "apps/v1"
    kind: str = "Deployment"


class MappedField(_Struct, frozen=True):
    """A column and the query that finds it."""

    name: str
    path: str


class PayloadMapping(_Struct, frozen=True):
    """
    Where inputs and outputs stand in a JSON of the model's own, as JSONPath (RFC 9535).

    With ``rows`` (``output_rows``) the queries of the columns begin at each node that it finds, else at the document.
    """

    rows: str | None = None
    inputs: tuple[MappedField, ...] = ()
    output_rows: str | None = None
    outputs: tuple[MappedField, ...] = ()


class Port(_Struct, frozen=True):
    """A named container port to guard, and what is spoken on it; a mapping takes the place of the protocol."""

    name: str = "http"
    protocol: str = "auto"
    mapping: PayloadMapping | None = None


class Match(_Struct, frozen=True):
    """Which requests are this model's inference; empty fields match everything."""

    model: str | None = None
    paths: tuple[str, ...] = ()


class Redact(_Struct, frozen=True):
    """A field that is dropped or hashed before it is counted."""

    field: str
    how: Redaction = Redaction.DROP


class Traffic(_Struct, frozen=True):
    """What is teed."""

    ports: tuple[Port, ...] = (Port(),)
    takeover: Takeover = Takeover.NAMED_PORT
    match: Match = Match()
    ignore: tuple[str, ...] = ()
    sample: float = 1.0
    client: str | None = None
    redact: tuple[Redact, ...] = ()


class Inject(_Struct, frozen=True):
    """How existing pods get their sidecar."""

    rollout: Rollout | None = None


class ConfigMapKey(_Struct, frozen=True):
    """One key of a ConfigMap in the same namespace."""

    name: str
    key: str = "profile.json"


class Learn(_Struct, frozen=True):
    """
    Freeze a reference from the first requests of live traffic that good revisions serve.

    It is learnt once. Another ``attempt`` than that of the frozen reference learns anew.
    """

    requests: int = 10_000
    for_: Duration = msgspec.field(name="for", default=Duration(7 * 86400))
    attempt: int = 1


class Reference(_Struct, frozen=True):
    """What inputs and outputs are compared with."""

    config_map: ConfigMapKey | None = None
    learn: Learn | None = None


class Errors(_Struct, frozen=True):
    """Share of bad requests that is still fine. ``statuses`` adds 4xx codes to 5xx, resets and timeouts."""

    below: Ratio = Ratio(0.01)
    statuses: tuple[int, ...] = ()


class Latency(_Struct, frozen=True):
    """``quantile`` of the requests end within ``below``: at most 1 - quantile may be slower."""

    quantile: float
    below: Duration


class Drift(_Struct, frozen=True):
    """``tolerance``: widest CDF shift that does not matter; ``retrain_at``: shift that warrants retraining."""

    tolerance: Ratio = Ratio(0.01)
    retrain_at: Ratio = Ratio(0.10)


class DataQuality(_Struct, frozen=True):
    """Widest change of missing, unparseable, out-of-range and unseen shares that does not matter."""

    tolerance: Ratio = Ratio(0.01)


class Memory(_Struct, frozen=True):
    """Working set against the container's limit; a plain threshold, outside the false-alarm guarantee."""

    below: Ratio = Ratio(0.9)
    for_: Duration = msgspec.field(name="for", default=Duration(300))


class Availability(_Struct, frozen=True):
    """The rollout makes progress and containers do not crash-loop."""


class Objectives(_Struct, frozen=True):
    """Each objective is an event with a bound; absent means not judged."""

    availability: Availability | None = None
    errors: Errors | None = None
    latency: tuple[Latency, ...] = ()
    drift: Drift | None = None
    data_quality: DataQuality | None = None
    memory: Memory | None = None


class FalseAlarms(_Struct, frozen=True):
    """The budget of the whole ModelDeployment: at most so many false alarms per period."""

    at_most: float = 1.0
    per: Duration = Duration(90 * 86400)


class Bake(_Struct, frozen=True):
    """A revision becomes good after both."""

    for_: Duration = msgspec.field(name="for", default=Duration(3600))
    requests: int = 1000


class Baseline(_Struct, frozen=True):
    """One pod of the last good revision beside the new one."""

    mode: BaselineMode = BaselineMode.NONE


class Release(_Struct, frozen=True):
    """How long and how strictly a new revision is watched."""

    watch: Duration = Duration(1800)
    bake: Bake = Bake()
    false_rollback: Ratio = Ratio(0.01)
    min_odds_ratio: float = 1.25
    min_difference: Ratio = Ratio(0.005)
    baseline: Baseline = Baseline()


class Rollback(_Struct, frozen=True):
    """Return to the last good template."""

    mode: Mode = Mode.AUTOMATIC


class JobSource(_Struct, frozen=True):
    """The CronJob whose template a retraining Job takes."""

    name: str
    api_version: str = "batch/v1"
    kind: str = "CronJob"


class Retrain(_Struct, frozen=True):
    """Start a Job, at most once per ``cooldown``."""

    mode: Mode = Mode.AUTOMATIC
    from_: JobSource | None = msgspec.field(name="from", default=None)
    cooldown: Duration = Duration(86400)


class Limits(_Struct, frozen=True):
    """Acts per day, all kinds together."""

    per_day: int = 3


class Actions(_Struct, frozen=True):
    """What may be done about a breach."""

    rollback: Rollback = Rollback()
    retrain: Retrain = Retrain(mode=Mode.OFF)
    limits: Limits = Limits()


class Trigger(_Struct, frozen=True):
    """An Alertmanager alert that asks for an action."""

    alert: str
    action: str = "Rollback"


class Resources(_Struct, frozen=True):
    """Where resource use of the model's container is read."""

    source: ResourceSource = ResourceSource.METRICS_API


class Metrics(_Struct, frozen=True):
    """What /metrics exports beside the fixed set."""

    feature_bins: bool = False


class Wire(_Struct, frozen=True):
    """Data-path settings."""

    workers: int = 1


class Spec(_Struct, frozen=True):
    """ModelDeployment.spec."""

    target_ref: TargetRef
    traffic: Traffic = Traffic()
    inject: Inject = Inject()
    reference: Reference = Reference()
    objectives: Objectives = Objectives()
    false_alarms: FalseAlarms = FalseAlarms()
    release: Release = Release()
    actions: Actions = Actions()
    triggers: tuple[Trigger, ...] = ()
    resources: Resources = Resources()
    metrics: Metrics = Metrics()
    wire: Wire = Wire()


_QUANTITIES: Final[dict[type, Callable[[str], float]]] = {Ratio: Ratio.parse, Duration: Duration.parse}


def _decode(expected: type, value: Any) -> Any:
    parse = _QUANTITIES[expected]
    if not isinstance(value, str):
        raise ValueError(f"expected a string for a {expected.__name__.lower()}, got {type(value).__name__}")
    return parse(value)


def parse_spec(spec: Mapping[str, Any]) -> Spec:
    """
    Parse ``ModelDeployment.spec`` as the API server returns it.

    Raises:
        SpecError: with the JSON path of the first fault.

    >>> parse_spec({"targetRef": {"name": "churn"}, "objectives": {"errors": {"below": "1%"}}}).objectives.errors.below
    0.01
    >>> parse_spec({"targetRef": {"name": "churn"}, "objectives": {"errors": {"below": "1"}}})
    Traceback (most recent call last):
    onguard.spec.SpecError: expected a percentage ... such as "1%", got "1" - at `spec.objectives.errors.below`
    """
    try:
        return msgspec.convert(dict(spec), Spec, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SpecError(str(error).replace("`$", "`spec")) from None
