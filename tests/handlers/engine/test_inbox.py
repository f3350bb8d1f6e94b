import asyncio

from handlers.engine.inbox import MAX_ITEMS, Inbox


class Work:
    """Handles messages when it is told to."""

    def __init__(self) -> None:
        self.done: list[str | bytes] = []
        self.gate = asyncio.Event()
        self.inbox = Inbox(self.handle, asyncio.ensure_future)
        self.ended = asyncio.get_running_loop().create_future()

    async def handle(self, message: str | bytes) -> None:
        await self.gate.wait()
        self.done.append(message)

    async def last(self) -> None:
        self.ended.set_result(list(self.done))


async def test_messages_are_handled_one_at_a_time_in_order(io_loop) -> None:
    running = 0

    async def handle(message: str | bytes) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1
        done.append(message)

    done: list[str | bytes] = []
    ended = asyncio.get_running_loop().create_future()
    inbox = Inbox(handle, asyncio.ensure_future)
    for i in range(50):
        inbox.put(str(i))

    async def last() -> None:
        ended.set_result(None)

    inbox.finish(last, drop=False)
    await ended
    assert done == [str(i) for i in range(50)]


async def test_the_end_comes_behind_what_waits(io_loop) -> None:
    work = Work()
    work.inbox.put("a")
    work.inbox.put("b")
    work.inbox.finish(work.last, drop=False)
    work.gate.set()
    assert await work.ended == ["a", "b"]


async def test_dropping_leaves_out_all_but_the_message_in_work(io_loop) -> None:
    work = Work()
    work.inbox.put("a")
    work.inbox.put("b")
    await asyncio.sleep(0)  # the task takes "a"
    work.inbox.finish(work.last, drop=True)
    work.gate.set()
    assert await work.ended == ["a"]


async def test_a_full_inbox_tells_when_there_is_room(io_loop) -> None:
    work = Work()
    for i in range(MAX_ITEMS + 2):
        work.inbox.put(str(i))
    assert work.inbox.full
    room = work.inbox.room()
    assert not room.done()
    work.gate.set()
    await room
    assert not work.inbox.full


async def test_room_is_there_at_once_when_the_inbox_is_not_full(io_loop) -> None:
    assert Work().inbox.room().done()


async def test_what_needs_no_waiting_is_handled_where_it_is_read_but_never_before_what_waits(io_loop) -> None:
    work = Work()
    seen: list[str | bytes] = []

    def at_once(message: str | bytes) -> bool:
        seen.append(message)
        if message == "slow":
            return False
        work.done.append(message)
        return True

    work.inbox = Inbox(work.handle, asyncio.ensure_future, at_once)
    work.inbox.put("a")
    assert work.done == ["a"]
    for message in ("slow", "b", "c"):
        work.inbox.put(message)
    await asyncio.sleep(0)
    assert work.done == ["a"] and seen == ["a", "slow"]
    work.gate.set()
    work.inbox.put("d")
    while len(work.done) < 5:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.inbox.put("e")
    assert work.done == ["a", "slow", "b", "c", "d", "e"] and seen == ["a", "slow", "e"]
    work.inbox.finish(work.last, drop=False)
    assert await work.ended == work.done
