"""sdc11073's own consumer, kept tidy, and what the tests ask of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sdc11073 import observableproperties
from sdc11073.consumer.consumerimpl import SdcConsumer, default_components_factory
from sdc11073.consumer.request_handler_deferred import DispatchKeyRegistryDeferred, EmptyResponse
from sdc11073.definitions_sdc import SdcV1Definitions
from sdc11073.mdib import ConsumerMdib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_observe: Any = observableproperties  # typed in part only
PATIENCE_S = 60


class _EndingDispatcher(DispatchKeyRegistryDeferred):
    """The library's, whose thread reads its queue for ever (its issue 519); this one can be ended."""

    def _read_queue(self) -> None:
        while (item := self._queue.get()) is not None:
            handle, request, _action = item
            handle(request)

    def on_post(self, request_data: Any) -> Any:  # noqa: ANN401 - the library's own
        handle = self._get_post_handler(request_data)
        assert handle is not None, request_data.message_data.action
        self._queue.put((handle, request_data, ""))
        return EmptyResponse()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        self._queue.put(None)
        self._worker.join(PATIENCE_S)


@contextmanager
def consumer(address: str, tls: Any = None, chunk: int = 0) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - as above
    """A consumer with its copy of the MDIB; messages are validated against the schemas, both ways."""
    components = default_components_factory()
    components.action_dispatcher_class = _EndingDispatcher
    made: Any = SdcConsumer(
        address,
        SdcV1Definitions,
        tls,
        validate=True,
        components=components,
        force_ssl_connect=tls is not None,
        request_chunk_size=chunk,
    )
    try:
        made.start_all()
        mdib: Any = ConsumerMdib(made)
        mdib.init_mdib()
        yield made, mdib
    finally:
        made.stop_all()
        made._services_dispatcher.end()


def wait_until(mdib: Any, condition: Callable[[], bool]) -> None:  # noqa: ANN401 - as above
    """Wait for reports until the condition holds; fails when none makes it hold in time."""
    # An event, not a condition: who tells of a report holds the MDIB's lock, and looking at the MDIB takes it.
    changed = threading.Event()

    def wake(_what: object) -> None:
        changed.set()

    names = ("metrics_by_handle", "alert_by_handle", "component_by_handle", "context_by_handle")
    for name in names:
        _observe.bind(mdib, **{name: wake})
    try:
        for _ in range(PATIENCE_S * 10):
            changed.clear()
            if condition():
                return
            changed.wait(0.1)  # a report tells of itself before the next one is in: looked at again now and then
        assert condition(), "no report made it so"
    finally:
        for name in names:
            _observe.unbind(mdib, **{name: wake})


def state(mdib: Any, handle: str) -> Any:  # noqa: ANN401 - as above
    """A state by its handle."""
    return mdib.entities.by_handle(handle).state
