"""
Which requests are inference: by method and path alone, so that judging never depends on content.

Without configured paths these count, for POST: KServe v1 and TF Serving ``:predict :explain :classify :regress``,
Open Inference v2 ``/infer`` (and ``/infer_stream``), ``/generate`` (and ``/generate_stream``), MLflow and SageMaker
``/invocations``, Seldon ``/api/v0.1/predictions`` and ``/api/v1.0/predictions``, OpenAI ``/completions`` and
``/chat/completions``, and over gRPC Open Inference's ``ModelInfer`` and ``ModelStreamInfer``.
"""

import re
from fnmatch import translate
from typing import Final

_KNOWN: Final = re.compile(
    rb"[^?#]*(?:"
    rb":(?:predict|explain|classify|regress)"
    rb"|/(?:infer|infer_stream|generate|generate_stream)"
    rb"|/invocations"
    rb"|/api/v(?:0\.1|1\.0)/predictions"
    rb"|/(?:chat/)?completions"
    rb"|/inference\.GRPCInferenceService/Model(?:Stream)?Infer"
    rb")/?"
)
_NO_INFERENCE: Final = frozenset((b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE"))
_NOTHING: Final = re.compile(rb"(?!)")


class Matcher:
    """
    Tells inference from the rest under one configuration.

    A configured path is a prefix (``/score``), or a glob over the whole path if it has ``*``, ``?`` or ``[``.

    >>> Matcher((), ()).is_inference(b"POST", b"/v1/models/churn:predict")
    True
    >>> Matcher(("/score",), ("/score/ping",)).is_inference(b"GET", b"/score/ping?x=1")
    False
    """

    def __init__(self, match_paths: tuple[str, ...], ignore_paths: tuple[str, ...]) -> None:
        self._configured = bool(match_paths)
        self._match = _any_of(match_paths) if match_paths else _KNOWN
        self._ignore = _any_of(ignore_paths)

    def is_inference(self, method: bytes, target: bytes) -> bool:
        """Whether a request counts, by its method and raw target (any form of RFC 9112, section 3.2)."""
        path = _path(target)
        if method in _NO_INFERENCE or self._ignore.fullmatch(path):
            return False
        return (self._configured or method == b"POST") and bool(self._match.fullmatch(path))


def _path(target: bytes) -> bytes:
    """Without query; of an absolute target without scheme and authority."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/") and b"://" in path:
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    return path


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[bytes]:
    if not patterns:
        return _NOTHING
    parts = (translate(p) if any(c in p for c in "*?[") else re.escape(p) + r"(?s:.*)" for p in patterns)
    return re.compile("|".join(f"(?:{part})" for part in parts).encode())
