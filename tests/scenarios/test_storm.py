"""A pod is killed, and a thousand clients knock at the other one in the same moment."""

import asyncio
import random
import signal
import time

import aiohttp

from tests.contracts.redis_servers import Redis
from tests.pods import Native
from tests.test_app import post, processes, register  # noqa: F401 a fixture

CLIENTS, SURVIVORS = 1000, 100
HEARTBEAT_S = 3.0


async def test_a_reconnect_storm_costs_the_survivors_no_heartbeat(processes):  # noqa: F811
    redis = Redis().start()
    try:
        given = {
            "REDIS_URL": redis.url, "MAX_CONNECTIONS_PER_USER": "0", "PING_INTERVAL_S": str(HEARTBEAT_S),
            "PING_TIMEOUT_S": str(HEARTBEAT_S),
        }  # fmt: skip
        pod, other = await processes(**given).start(), await processes(**given).start()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            ann = await register(http, pod.url)
            headers = {"Authorization": f"Bearer {ann['token']}"}
            room = (await post(http, pod.url + "/rooms", {"bot": {"when": "off"}}, ann["token"]))["id"]

            async def connect(url):
                return Native(await http.ws_connect(url + "/ws", headers=headers))

            gate = asyncio.Semaphore(50)

            async def enter(url, after=None):
                async with gate:
                    door = await connect(url)
                    joined = await door.join(room, **({} if after is None else {"after": after}))
                return door, joined

            survivors = [door for door, _ in await asyncio.gather(*(enter(other.url) for _ in range(SURVIVORS)))]
            crowd = [door for door, _ in await asyncio.gather(*(enter(pod.url) for _ in range(CLIENTS)))]
            for n in range(20):
                await survivors[0].send(room, f"before {n}")
            cursor = 15  # they had not seen the last five
            over = asyncio.Event()

            async def pulse(door):
                worst = 0.0
                while not over.is_set():
                    began = time.monotonic()
                    await door.ask("ping", {})
                    worst = max(worst, time.monotonic() - began)
                    await asyncio.sleep(0.05)
                return worst

            pulses = [asyncio.create_task(pulse(door)) for door in survivors[:5]]
            await pod.end(signal.SIGKILL)
            for door in crowd:
                await door.end()
            gate = asyncio.Semaphore(CLIENTS)

            async def come_back():
                await asyncio.sleep(random.random())  # what clients are told to do
                return await enter(other.url, cursor)

            began = time.monotonic()
            back = await asyncio.wait_for(asyncio.gather(*(come_back() for _ in range(CLIENTS))), 60)
            assert time.monotonic() - began < 45
            for _, joined in back:
                assert [m["text"] for m in joined["messages"]] == [f"before {n}" for n in range(15, 20)]
            sent = await survivors[0].send(room, "after")
            for door in (*survivors, *(door for door, _ in back)):
                assert (await door.event("message", 10, id=sent["messageId"]))["text"] == "after"
            over.set()
            worst = await asyncio.gather(*pulses)
            assert max(worst) < HEARTBEAT_S
            assert all(door.closed is None for door in survivors)
            for door in (*survivors, *crowd, *(door for door, _ in back)):
                await door.close()
    finally:
        redis.close()
