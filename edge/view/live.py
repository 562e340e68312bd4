"""The running service, for whoever may watch it: a socket, and nothing to do while nobody is there.

The socket speaks the page's own events (``edge.view.messages``), so `edgeemo view` passes them on
as they come. All work is done in a thread of its own, once for all watchers. A watcher is sent the
newest event when it has taken the one before: a slow one misses some, a dead one is let go.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec

from edge.runtime.build import Runtime, live_path

if TYPE_CHECKING:
    from edge.service.daemon import Listener


def live(parts: Runtime, stack: ExitStack) -> "tuple[Runtime, Sequence[Listener]]":
    """Let opened parts be watched where the configuration has a socket; see ``session.Attach``.

    Raises:
        SinkError: the socket cannot be made.
    """
    path = live_path(parts.config.live)
    if path is None:
        return parts, ()
    from edge.sinks.fan_out import MultiSink
    from edge.view.live_socket import LiveSocket

    source, log = parts.source, parts.log
    socket = LiveSocket(
        path,
        pictures=parts.config.live.pictures,
        dropped=lambda: source.dropped,
        lost_records=lambda: None if log is None else log.dropped,
    )
    stack.callback(socket.close)
    sink = MultiSink(parts.sink, {"live": socket})
    return msgspec.structs.replace(parts, sink=sink), [socket.show]
