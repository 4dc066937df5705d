"""
The analysis of one stream of exchanges under one configuration and one reference: what is counted of each.

A new configuration of what is read, or a new reference, is a new :class:`Analysis`: counts of two never mix.
"""

import dataclasses
import re
from typing import Any, Final, NamedTuple

import numpy as np

from onguard import contract
from onguard.counts import Counts
from onguard.profile import Feature, Profile
from onguard.sidecar_config import SidecarConfig
from onguard_sidecar.analyst.accumulate import Group, unit_shares
from onguard_sidecar.analyst.align import Aligned, Columns
from onguard_sidecar.analyst.duplicates import Recent
from onguard_sidecar.analyst.quick import Quick, is_rows
from onguard_sidecar.analyst.speech import Speech
from onguard_sidecar.analyst.survey import Survey
from onguard_sidecar.decoding import encoding, formats, heads, open_inference_grpc, openai
from onguard_sidecar.decoding.batch import Batch, Decoded, Reason, Undecodable
from onguard_sidecar.exchange import Exchange
from onguard_sidecar.handover import Exchanges

ANALYSED: Final = "analysed"
DUPLICATE: Final = "duplicate"
PROBE: Final = "probe"
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_MODEL: Final = re.compile(r"/v[12]/models/([^/:]+)")


def undecodable(reason: Reason) -> str:
    """
    The ledger's field of a reason.

    >>> undecodable(Reason.BAD_JSON)
    'undecodable_bad_json'
    """
    return f"undecodable_{reason.value}"


@dataclasses.dataclass(slots=True)
class Tally:
    """Rows and columns of this analysis, for display."""

    rows: int = 0
    requests: int = 0
    duplicates: int = 0
    missing: int = 0
    extra: int = 0
    coerced: int = 0
    speech: Speech = dataclasses.field(default_factory=Speech, compare=False)

    def note(self, aligned: Aligned) -> None:
        """Add what did not fit."""
        self.missing += aligned.missing
        self.extra += aligned.extra
        self.coerced += aligned.coerced


class Analysis:
    """
    Decodes and counts exchanges, one after another.

    Args:
        config: what to read.
        profile: the reference; None: decode only, so that the account is true while there is none.
        key: random bytes of this process, for the hashes of bodies and redacted values.

    Raises:
        MappingError: the configuration's mapping can't be used.

    Attributes:
        survey: looks at what is read too, while it is open.
    """

    def __init__(self, config: SidecarConfig, profile: Profile | None, key: bytes) -> None:
        self.config = config
        self.profile = profile
        self.tally = Tally()
        self.survey: Survey | None = None
        self._recent = Recent(key)
        self._mapped = formats.of_mapping(config.mapping) if config.mapping else None
        self._counts = Counts.zero(profile) if profile else None
        self._inputs = self._side(profile.inputs if profile else (), key)
        self._outputs = self._side(profile.outputs if profile else (), key)
        self._quick = self._quick_way()

    def _side(self, features: tuple[Feature, ...], key: bytes) -> "_Side | None":
        if self.profile is None or self._counts is None or not features:
            return None
        columns = Columns(features, self.config.redact, key)
        return _Side(columns, Group(self.profile, columns.kept, self._counts))

    def _quick_way(self) -> Quick | None:
        """For references of plain numbers and configurations that ask for nothing special."""
        inputs, outputs = self._inputs, self._outputs
        if self._mapped or inputs is None or not inputs.columns.is_plain or (outputs and not outputs.columns.is_plain):
            return None
        answers = outputs.group if outputs else None
        return Quick(inputs.group, answers, recent=self._recent, seen=self.tally, fits=self._is_quick)

    def _is_quick(self, head: heads.Head) -> bool:
        return not self._is_probe(head) and is_rows(self.config.protocol, head)

    def take_plain(self, exchanges: Exchanges, *, now: float) -> list[str] | None:
        """As :meth:`take`, of exchanges that are all the usual; None: they are not, and nothing was done."""
        if self._quick is None or self._asked is not None:
            return None
        are_new = self._quick.take(exchanges, now)
        return None if are_new is None else [ANALYSED if is_new else DUPLICATE for is_new in are_new]

    def take(self, exchange: Exchange, *, now: float) -> str:
        """
        Count one exchange.

        Args:
            exchange: as the wire handed it over.
            now: monotonic seconds.

        Returns:
            The ledger's field that it belongs to.
        """
        head = heads.parse(exchange.request_head)
        if self._is_probe(head) or self._is_call_of_another_model(exchange, head):
            return PROBE
        if exchange.request_truncated:
            return undecodable(Reason.TOO_LARGE)
        if self._recent.seen(exchange.request_body, now=now):
            self.tally.duplicates += 1
            return DUPLICATE
        return self._read(exchange, head)

    def counts(self) -> Counts | None:
        """A copy of what was counted so far; None without a reference."""
        if self._counts is None:
            return None
        for side in (self._inputs, self._outputs):
            if side:
                side.group.flush()
        values = {field.name: getattr(self._counts, field.name) for field in dataclasses.fields(Counts)}
        arrays: dict[str, Any] = {k: v.copy() for k, v in values.items() if isinstance(v, np.ndarray)}
        return dataclasses.replace(
            self._counts,
            rows=self.tally.rows,
            units=self.tally.requests * contract.UNIT,
            unit_squares=self.tally.requests * contract.UNIT,
            duplicates=self.tally.duplicates,
            **arrays,
        )

    @property
    def _asked(self) -> Survey | None:
        """The survey, as long as it wants rows."""
        return self.survey if self.survey is not None and self.survey.is_open else None

    def _is_probe(self, head: heads.Head) -> bool:
        return head.method in _SAFE_METHODS or self._is_of_another_model(head.path)

    def _is_of_another_model(self, path: str) -> bool:
        wanted = self.config.match_model
        found = _MODEL.search(path) if wanted else None
        return found is not None and found[1] != wanted

    def _is_call_of_another_model(self, exchange: Exchange, head: heads.Head) -> bool:
        """Over gRPC the model's name is in the message."""
        wanted = self.config.match_model
        if not wanted or not head.path.startswith(open_inference_grpc.SERVICE):
            return False
        asked = open_inference_grpc.identity_of(exchange.request_body, head.grpc_encoding).model
        return asked not in ("", wanted)

    def _read(self, exchange: Exchange, head: heads.Head) -> str:
        request = self._request(exchange, head)
        if isinstance(request, Undecodable):
            self._recent.forget(exchange.request_body)  # its repeats are undecodable too, not duplicates
            return undecodable(request.reason)
        fmt, batch, aligned = request
        self.tally.rows += batch.rows
        self.tally.requests += 1
        if self._inputs and aligned:
            self.tally.note(aligned)
            self._inputs.count(aligned)
        return undecodable(Reason.RESPONSE) if self._answer_is_lost(exchange, fmt) else ANALYSED

    def _request(self, exchange: Exchange, head: heads.Head) -> "_Request | Undecodable":
        body = encoding.expand(exchange.request_body, head.content_encoding)
        if isinstance(body, Undecodable):
            return body
        fmt = self._mapped or formats.choose(self.config.protocol, head=head, body=body)
        if isinstance(fmt, Undecodable):
            return fmt
        batch = fmt.decode_request(body, head)
        if self._asked is not None and isinstance(batch, Batch):
            self._asked.inputs(batch)
        if isinstance(batch, Undecodable) or self._inputs is None:
            return batch if isinstance(batch, Undecodable) else _Request(fmt, batch, None)
        aligned = self._inputs.columns.align(batch)
        return aligned if isinstance(aligned, Undecodable) else _Request(fmt, batch, aligned)

    def _answer_is_lost(self, exchange: Exchange, fmt: formats.Format) -> bool:
        """Count the outputs of an answer that has some; whether it should have had and could not be read."""
        wanted = self._outputs is not None or fmt is formats.OPENAI
        if not (wanted or self._asked) or not 200 <= exchange.status < 300 or exchange.client_aborted:
            return False
        if exchange.response_truncated or exchange.upstream_reset:
            return wanted
        batch = self._answer(exchange, fmt)
        if self._asked is not None and isinstance(batch, Batch):
            self._asked.outputs(batch)
        return wanted and self._is_miscounted(batch)

    def _is_miscounted(self, batch: Decoded) -> bool:
        if isinstance(batch, Undecodable) or self._outputs is None:
            return isinstance(batch, Undecodable)
        aligned = self._outputs.columns.align(batch)
        if isinstance(aligned, Undecodable):
            return True
        self._outputs.count(aligned)
        return False

    def _answer(self, exchange: Exchange, fmt: formats.Format) -> Decoded:
        head = heads.parse(exchange.response_head)
        body = encoding.expand(exchange.response_body, head.content_encoding)
        batch = body if isinstance(body, Undecodable) else fmt.decode_response(body, head)
        if fmt is formats.OPENAI and isinstance(batch, Batch):
            streamed = head.content_type.startswith(openai.EVENT_STREAM)
            self.tally.speech.note(batch, exchange, streamed=streamed)
        return batch


class _Request(NamedTuple):
    """A request that could be read."""

    fmt: formats.Format
    batch: Batch
    aligned: Aligned | None
    """None where there is no reference for inputs."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Side:
    """Inputs or outputs."""

    columns: Columns
    group: Group

    def count(self, aligned: Aligned) -> None:
        self.group.add(aligned.cells, unit_shares(len(aligned.cells)))
