"""How bytes of a frame reach a socket: the last step of the event path, for both doors.

Knows a Tornado stream and the WebSocket connection on it. Knows nothing of events, rooms or users.

`IOStream.write` costs several times a bare `socket.send`: it copies into a buffer, makes a future and asks the loop
again. When nothing is queued on the stream, the frame goes straight to the kernel; whatever the kernel does not take
goes through the stream, which keeps the order.
"""

from typing import Any

from tornado.iostream import IOStream

TEXT = 0x81  # FIN and opcode 1, RFC 6455 section 5.2


def text_frame(payload: bytes) -> bytes:
    """The complete, unmasked server frame of one text message."""
    size = len(payload)
    if size < 126:
        return bytes((TEXT, size)) + payload
    if size < 65536:
        return bytes((TEXT, 126)) + size.to_bytes(2, "big") + payload
    return bytes((TEXT, 127)) + size.to_bytes(8, "big") + payload


class FrameWriter:
    """Writes encoded frames to one WebSocket, in order, without waiting.

    stream: the connection's stream, plain TCP (behind TLS of our own every frame takes the stream's way).
    connection: Tornado's protocol object; once it has sent its CLOSE frame nothing may follow.
    """

    __slots__ = ("_connection", "_plain", "_stream")

    def __init__(self, stream: IOStream, connection: Any) -> None:
        self._stream = stream
        self._connection = connection
        # An SSLIOStream's socket encrypts on its own terms, a compressor changes every frame.
        self._plain = type(stream) is IOStream and getattr(connection, "_compressor", None) is None

    def write(self, frame: bytes) -> None:
        """Send or queue one complete frame. A broken socket closes its own stream only; never raises."""
        if not self.direct(frame):
            self._stream.write(frame)

    def direct(self, frame: bytes) -> bool:
        """Send the frame if nothing waits before it; what the kernel does not take is queued. False: something waits."""
        stream = self._stream
        if stream._closed or self._connection.server_terminated:
            return True
        if not self._plain or stream._write_buffer._size:
            return False
        try:
            sent = stream.socket.send(frame)
        except BlockingIOError:
            return False
        except OSError as error:
            stream.close((type(error), error, error.__traceback__))
            return True
        if sent != len(frame):
            stream.write(memoryview(frame)[sent:])
        return True

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process; what the kernel holds is not counted."""
        buffer = self._stream._write_buffer
        return buffer._size if buffer is not None else 0  # a closed stream has none

    @property
    def closed(self) -> bool:
        return bool(self._stream._closed or self._connection.server_terminated)
