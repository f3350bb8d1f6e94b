"""Logs: one JSON object a line, on stderr. Events with fields, never content or secrets."""

import json
import logging
import queue
import re
import sys
import threading
import time
from collections.abc import Iterable
from contextvars import ContextVar
from typing import TextIO

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What a line is about, set where a request or a command comes in; work beside requests starts without.
request_of: ContextVar[str | None] = ContextVar("request", default=None)
connection_of: ContextVar[str | None] = ContextVar("connection", default=None)
room_of: ContextVar[str | None] = ContextVar("room", default=None)
trace_of: ContextVar[str | None] = ContextVar("trace", default=None)
ABOUT = (("request", request_of), ("connection", connection_of), ("room", room_of), ("trace_id", trace_of))
# Tokens of ours, keys of providers: whoever raises an error with one in it does not know that.
TOKEN_LIKE = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}|\bmaru_[\w-]{20,}|\bsk-[\w-]{8,}|(?<=://)[^/\s:@\"]+:[^/\s@\"]+(?=@)"
)
HIDDEN = "***"
# Shorter ones would be found in innocent words.
SHORT = 6
MOST_LINES = 10_000
LOST = {"name": "maru.logs", "levelno": logging.WARNING, "levelname": "WARNING", "msg": "log lines lost"}
CLOSE_S = 2.0


# Postgres quotes rows and statements, and so what people wrote, in the lines behind the first.
QUOTED = re.compile(
    r"\n(?:DETAIL|CONTEXT|LINE \d+|HINT|QUERY):.*?(?=\n\n(?:During|The above)|\nTraceback|\Z)", re.DOTALL
)


def no_request(record: logging.LogRecord) -> bool:
    """Tornado's line of an exception has the request's address, and so what was searched for or an invitation."""
    if str(record.msg).startswith("Uncaught exception %s"):
        record.msg, record.args = "request failed", ()
    return True


class JsonLines(logging.Formatter):
    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """secrets: the settings' own, which are in no line, whoever wrote it."""
        super().__init__()
        self._secrets = sorted(
            {form for word in secrets if len(word) >= SHORT for form in (word, json.dumps(word)[1:-1])}, key=len
        )

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "ts": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {name: value for name, var in ABOUT if (value := var.get()) is not None}
        line |= {key: value for key, value in vars(record).items() if key not in STANDARD}
        if record.exc_info:
            line["trace"] = QUOTED.sub("", self.formatException(record.exc_info))
        text = json.dumps(line, default=str, ensure_ascii=False)
        for secret in reversed(self._secrets):
            text = text.replace(secret, HIDDEN)
        return TOKEN_LIKE.sub(HIDDEN, text)


class Writer(logging.Handler):
    """Writes lines in a thread of its own: who reads them may stop reading, and the loop does not stop with it.

    Lines are made where they are logged, since what they are about is known there. When `most` of them wait, new ones
    are lost, and a line says how many. `close` gives those that wait `CLOSE_S` seconds.
    """

    def __init__(self, stream: TextIO, formatter: logging.Formatter, most: int = MOST_LINES) -> None:
        super().__init__()
        self.formatter = formatter
        self._stream = stream
        self._most = most
        # Of the queues the one that may be entered anew: a finalizer that logs runs wherever memory is asked for.
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._lost = 0
        self._thread = threading.Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._most:
            self._lost += 1
            return
        try:
            if self._lost:
                lost, self._lost = self._lost, 0
                self._lines.put(self.format(logging.makeLogRecord(LOST | {"lines": lost})))
            self._lines.put(self.format(record))
        except Exception:
            self.handleError(record)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                if self._lines.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # a full disk, a reader that has gone: lines are lost, nothing else
                continue

    def close(self) -> None:
        self._lines.put(None)
        self._thread.join(CLOSE_S)
        super().close()


def configure_logs(level: str, secrets: Iterable[str] = ()) -> None:
    handler = Writer(sys.stderr, JsonLines(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("tornado.application").addFilter(no_request)
    # At debug these write statements with their parameters, requests with their bodies, addresses with their secrets.
    for name in (
        "tornado.access",
        "tornado.general",
        "peewee",
        "httpx2",
        "httpcore2",
        "openai",
        "anthropic",
        "asyncio",
        "urllib3",
        "opentelemetry",
    ):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
