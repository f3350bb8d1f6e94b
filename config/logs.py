"""Logs: one JSON object a line, on stderr. Events with fields, never content or secrets."""

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from contextvars import ContextVar

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


def configure_logs(level: str, secrets: Iterable[str] = ()) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(secrets))
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
