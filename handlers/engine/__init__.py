"""Engine.IO v4 on Tornado: the transport under the Socket.IO door.

Ours instead of python-engineio's driver because nearly all of that would have had to be mended (a queue and two tasks
a client, errors after the 101, packets dropped or overtaken), and because an event for readers must reach the socket
as one frame that was encoded once. python-socketio sits on top through `_engineio_server_class`.

packets      the wire format, pure
transports   the way out: a queue for the next poll, or the socket
upgrade      from the one to the other
inbox        the way in: in order, one at a time, without holding up the socket
session      one client: what comes in, what goes out, heartbeat, end
server       all sessions, and what python-socketio asks of an Engine.IO server
http         the Tornado handler: every check before the first byte of an answer
"""

from handlers.engine.http import EngineHandler
from handlers.engine.packets import PacketError
from handlers.engine.server import EngineServer
from handlers.engine.session import Reason, Session

__all__ = ["EngineHandler", "EngineServer", "PacketError", "Reason", "Session"]
