"""Alive, ready, measured."""

import asyncio
from typing import Any

from handlers.api import types
from handlers.api.base import Call, Route
from models.database import DatabaseUnavailable
from services.exposition import exposition

READY_S = 3.0


async def healthz(call: Call) -> types.Health:
    return types.Health("ok")


async def readyz(call: Call) -> types.Health:
    services = call.services
    if services.draining:
        call.status = 503
        return types.Health("draining")
    try:
        async with asyncio.timeout(READY_S):
            missing = await services.db.run_bare(services.db.unapplied)
    except (DatabaseUnavailable, TimeoutError):
        call.status = 503
        return types.Health("unavailable", detail="the database does not answer")
    if missing:
        call.status = 503
        return types.Health("unavailable", detail="the schema is not up to date")
    if services.deaf:
        call.status = 503
        return types.Health("unavailable", detail="this pod does not hear Redis")
    return types.Health("degraded" if services.degraded else "ok", degraded=services.degraded)


async def metrics(call: Call) -> Any:
    call.handler.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
    call.handler.finish(await exposition(call.services))
    return True


T = "operation"
ROUTES = [
    Route("GET", "/healthz", healthz, "Alive.", T, reply=types.Health, who=None),
    Route("HEAD", "/healthz", healthz, "Alive, for load balancers.", T, who=None),
    Route("GET", "/readyz", readyz, "Ready to serve: the database answers and the schema fits.", T,
          reply=types.Health, who=None, also=(503,)),
    Route("HEAD", "/readyz", readyz, "Ready to serve, for load balancers.", T, who=None, also=(503,)),
    Route("GET", "/metrics", metrics, "Prometheus text.", T, who=None),
]  # fmt: skip
