"""From polling to WebSocket: probe, answer, release of the waiting GET, UPGRADE.

Source: https://github.com/socketio/engine.io-protocol, "Upgrade". The client opens a WebSocket beside its polling,
sends `2probe`, gets `3probe`, lets its GET end, sends `5`; from then on the WebSocket is the session.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from handlers.engine.packets import PING, PONG, UPGRADE, Outgoing, PacketError, decode_packet
from handlers.engine.transports import Polling, Socket

PROBE = "probe"
LIMIT_S = 10.0

# A GET that meets the upgrade waits this long for its end. Released at once, the GET of a client that has sent probe
# and UPGRADE in one go would be answered with a NOOP, though the session is no longer polling.
RELEASE_S = 0.075


class Upgrade:
    """One attempt. It ends by `5`, by a wrong packet, by the WebSocket's close, or by time.

    accept: called with the socket when the client has said `5`.
    abandon: called when the attempt failed; polling goes on as if it had never been.
    """

    __slots__ = (
        "_abandon",
        "_accept",
        "_early",
        "_polling",
        "_probed",
        "_release_timer",
        "_socket",
        "_timer",
        "handler",
    )

    def __init__(
        self,
        handler: Any,
        polling: Polling,
        accept: Callable[[Socket], None],
        abandon: Callable[[], None],
    ) -> None:
        self.handler = handler
        self._polling = polling
        self._accept = accept
        self._abandon = abandon
        self._early = polling.waiting  # a GET from before the upgrade: released as soon as the probe is here
        self._socket: Socket | None = None
        self._probed = False
        self._timer = asyncio.get_running_loop().call_later(LIMIT_S, self.fail)
        self._release_timer: asyncio.TimerHandle | None = None

    def opened(self) -> None:
        self._socket = Socket(self.handler)

    def receive(self, encoded: str | bytes) -> None:
        try:
            packet = decode_packet(encoded)
        except PacketError:
            self.fail()
            return
        if not self._probed and packet.kind == PING and packet.data == PROBE:
            self._answer_probe()
        elif self._probed and packet.kind == UPGRADE and self._socket is not None:
            self._end()
            self._accept(self._socket)
        else:
            self.fail()

    def poll_began(self) -> None:
        self._early = False
        if self._probed:
            self._release_soon()

    def fail(self) -> None:
        """Close the WebSocket; the session goes on."""
        self._end()
        if self._socket is not None:
            self._socket.finish(1000, 1.0)
        self._abandon()

    def _answer_probe(self) -> None:
        assert self._socket is not None
        self._probed = True
        self._socket.send(Outgoing((PONG + PROBE).encode()))
        if self._early:
            self._polling.release()
        elif self._polling.waiting:
            self._release_soon()

    def _release_soon(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()
        self._release_timer = asyncio.get_running_loop().call_later(RELEASE_S, self._polling.release)

    def _end(self) -> None:
        self._timer.cancel()
        if self._release_timer is not None:
            self._release_timer.cancel()
