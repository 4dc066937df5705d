"""Resource use at scrape time, looked up at most every few seconds: walking a model's pages is not free."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from onguard import contract
from onguard.counts import ResourceSample
from onguard.spec import ResourceSource
from onguard_sidecar import resources

FRESH_S: Final = 5.0
_MODULES: Final = {
    contract.CONTAINER_WIRE: "onguard_sidecar.wire",
    contract.CONTAINER_ANALYST: "onguard_sidecar.analyst",
}


class Use(NamedTuple):
    """Of the model's container, if its processes can be seen, and of ours by container."""

    model: ResourceSample | None
    own: dict[str, resources.Usage]


class Usage:
    """
    Reads /proc, and remembers it for a moment.

    Args:
        shared: whether the pod shares its process namespace; without it only our own container is visible.
        clock: monotonic seconds.
        root: where /proc is.
    """

    def __init__(self, *, shared: bool, clock: Callable[[], float], root: Path = resources.PROC) -> None:
        self._shared = shared
        self._clock = clock
        self._root = root
        self._last: tuple[float, Use] | None = None

    def read(self) -> Use:
        """Use at most ``FRESH_S`` old."""
        now = self._clock()
        if self._last is None or now - self._last[0] >= FRESH_S:
            self._last = (now, self._look())
        return self._last[1]

    def _look(self) -> Use:
        visible = resources.processes(self._root)
        own = {
            container: use
            for container, module in _MODULES.items()
            if (use := resources.usage(resources.of_program(visible, module), self._root))
        }
        return Use(self._model(visible) if self._shared else None, own)

    def _model(self, visible: list[resources.Process]) -> ResourceSample | None:
        use = resources.usage(resources.of_model(visible), self._root)
        if use is None:
            return None
        return ResourceSample(
            source=ResourceSource.PROCESS_NAMESPACE.value,
            cpu_seconds=use.cpu_seconds,
            memory_bytes=use.memory_bytes,
            threads=use.threads,
            open_fds=use.open_fds,
        )
