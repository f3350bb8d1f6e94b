"""Reads what every client wrote down, and the rows that were left, and says what is wrong.

Knows PROTOCOL ("What a client may rely on") and nothing of the code that is to keep it. A journal is lines of JSON in
the order of time; `e` says what each is:

fault {kind, began, until} · member {room, user, on, began, t} · call and done {do, user, room, clientId | messageId, text?,
began, t, ...the reply} · open, closed, stalled {device, conn} · joined {device, conn, room, after, head, more, messages,
streams} · message {device, conn, m} · stream {device, conn, s} · removed {device, conn, room} · settled {device, rooms}
· probe {began, t}

Rows: {messages: [...], members: {room: [user]}, bots: {room: when}}.
"""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

ENDED = ("complete", "stopped", "failed")
REVOKED_WITHIN_S = 2.0
AFTER_A_FAULT_S = 3.0
SHOWN_OF_A_KIND = 5

Entry = dict[str, Any]


class Violation(NamedTuple):
    """kind: lost, doubled, order, hole, leak, answer, pieces or state."""

    kind: str
    what: str


class Connection:
    """One connection of a device, as far as one room goes."""

    def __init__(self, device: str, number: int, room: str) -> None:
        self.name = f"{device}#{number}"
        self.room = room
        self.start: int | None = None  # the head of the last join's reply
        self.last = 0
        self.seen: dict[int, str] = {}  # changedSeq -> message, events and replies

    def see(self, messages: Iterable[Entry]) -> None:
        for m in messages:
            self.seen[m["changedSeq"]] = m["id"]


class Pieces:
    """The pieces of one answer's attempt on one connection."""

    __slots__ = ("attempt", "next", "text", "whole")

    def __init__(self, attempt: int, following: int, text: str) -> None:
        self.attempt = attempt
        self.next = following
        self.text = text
        self.whole = True


class Checker:
    def __init__(self, journal: Iterable[Entry], rows: Entry) -> None:
        self.violations: list[Violation] = []
        self.counts: dict[str, int] = defaultdict(int)
        self._rows: dict[str, Entry] = {m["id"]: m for m in rows["messages"]}
        self._rooms: dict[str, list[Entry]] = defaultdict(list)
        for m in rows["messages"]:
            self._rooms[m["roomId"]].append(m)
        self._members: dict[str, list[str]] = rows["members"]
        self._bots: dict[str, str] = rows["bots"]
        self._journal = list(journal)
        self._users: dict[str, str] = {}
        # room -> every change that anybody saw, or that the rows hold -> message
        self._known: dict[str, dict[int, str]] = defaultdict(dict)
        self._changes: dict[str, set[int]] = defaultdict(set)  # message -> its changes

    def check(self) -> list[Violation]:
        self._learn()
        self._sends()
        self._edits()
        self._walk()
        self._answers()
        self._removals()
        return self.violations

    def recovery(self) -> dict[str, list[float]]:
        """By kind of fault: seconds from its beginning until something said after it was committed and seen."""
        probes = sorted((e["began"], e["t"], e["who"]) for e in self._journal if e["e"] == "probe")
        found: dict[str, list[float]] = defaultdict(list)
        for fault in (e for e in self._journal if e["e"] == "fault"):
            first: dict[str, float] = {}
            for began, ended, who in probes:
                if began >= fault["began"]:
                    first.setdefault(who, ended - fault["began"])
            if first:
                found[fault["kind"]].append(max(first.values()))
        return found

    def _wrong(self, kind: str, what: str) -> None:
        self.violations.append(Violation(kind, what))

    # -- what is known

    def _learn(self) -> None:
        for m in self._rows.values():
            self._learn_change(m)
        for e in self._journal:
            if e["e"] == "open":
                self._users[e["device"]] = e["user"]
            elif e["e"] == "message":
                self._learn_change(e["m"])
            elif e["e"] == "joined":
                for m in e["messages"]:
                    self._learn_change(m)

    def _learn_change(self, m: Entry) -> None:
        known = self._known[m["roomId"]].setdefault(m["changedSeq"], m["id"])
        if known != m["id"]:
            self._wrong("order", f"change {m['changedSeq']} of room {m['roomId']} is of both {known} and {m['id']}")
        self._changes[m["id"]].add(m["changedSeq"])

    # -- 1. what was acknowledged is kept, once

    def _sends(self) -> None:
        by_client: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        by_mark: dict[str, list[str]] = defaultdict(list)
        for m in self._rows.values():
            if m["role"] != "user":
                continue
            by_client[m["roomId"], m["userId"], m["clientId"]].append(m["id"])
            if m["text"]:
                by_mark[m["text"].split(" ", 1)[0]].append(m["id"])
        sent: set[tuple[str, str, str]] = set()
        answered: dict[tuple[str, str, str], Entry] = {}
        for e in self._journal:
            if e.get("do") != "send":
                continue
            key = (e["room"], e["user"], e["clientId"])
            sent.add(key)
            if e["e"] != "done":
                continue
            first = answered.setdefault(key, e)
            if any(e[name] != first[name] for name in ("messageId", "seq")):
                self._wrong("doubled", f"{e['clientId']} was acknowledged as {first['messageId']} and {e['messageId']}")
            row = self._rows.get(e["messageId"])
            if row is None:
                self._wrong("lost", f"{e['messageId']} was acknowledged and is not in the database")
            elif (row["roomId"], row["seq"], row["userId"]) != (e["room"], e["seq"], e["user"]):
                self._wrong("lost", f"{e['messageId']} was acknowledged as another than it is in the database")
        self.counts["sends"] = len(sent)
        self.counts["acknowledged"] = len(answered)
        self.counts["refused"] = len(sent) - len(answered)
        for key in sent:
            found = set(by_client.get(key, ())) | set(by_mark.get(key[2], ()))
            if len(found) > 1:
                self._wrong("doubled", f"what was sent as {key[2]} is there {len(found)} times")
        for room, messages in self._rooms.items():
            numbers = sorted(m["seq"] for m in messages)
            if numbers != list(range(1, len(numbers) + 1)):
                self._wrong("hole", f"the places in room {room} are not 1 to {len(numbers)}")

    def _edits(self) -> None:
        tried: dict[str, set[str]] = defaultdict(set)
        for e in self._journal:
            if e.get("do") == "edit":
                tried[e["messageId"]].add(e["text"])
        for e in self._journal:
            if e["e"] != "done" or e["do"] not in ("edit", "delete"):
                continue
            row = self._rows.get(e["messageId"])
            if row is None or row["changedSeq"] < e["changedSeq"]:
                self._wrong("lost", f"an acknowledged {e['do']} of {e['messageId']} is not in the database")
            elif e["do"] == "delete" and not row.get("deleted"):
                self._wrong("lost", f"{e['messageId']} was deleted and is back")
            elif e["do"] == "edit" and not row.get("deleted"):
                right = {e["text"]} if row["changedSeq"] == e["changedSeq"] else tried[e["messageId"]]
                if row["text"] not in right:
                    self._wrong("lost", f"the acknowledged text of {e['messageId']} is not in the database")

    # -- 2 and 3. every connection: in order, once, without a hole; 4. pieces add up

    def _walk(self) -> None:
        open_: dict[tuple[str, int, str], Connection] = {}
        pieces: dict[tuple[str, int, str], Pieces] = {}
        # Who reads slowly, or by polling, may be left out of pieces, also of the last ones; the final text is whole.
        slow: set[tuple[str, int]] = set()
        state: dict[str, dict[str, Entry]] = defaultdict(dict)  # device -> message -> its newest form
        cursors: dict[tuple[str, str], int] = {}
        for e in self._journal:
            what, conn = e["e"], (e.get("device", ""), e.get("conn", 0))
            if what == "stalled" or (what == "open" and e["door"] == "polling"):
                slow.add(conn)
            elif what == "joined":
                self._fold(state[e["device"]], e["messages"])
                here = open_.get((*conn, e["room"]))
                if here is not None and here.start is not None:
                    self._no_hole(here)
                here = open_[(*conn, e["room"])] = Connection(*conn, e["room"])
                self._page(here, e)
                if not e["more"]:
                    here.start = here.last = e["head"]
                    cursors[e["device"], e["room"]] = e["head"]
                for s in e["streams"]:
                    pieces[(*conn, s["messageId"])] = Pieces(s["attempt"], s["next"], s["text"])
                self._prefixes(e["messages"], pieces, conn)
            elif what == "message":
                self.counts["delivered"] += 1
                m = e["m"]
                here = open_.get((*conn, m["roomId"]))
                if here is None or here.start is None:
                    self._wrong("leak", f"{e['device']}#{e['conn']} got {m['id']} of a room that it does not read")
                    continue
                if m["changedSeq"] <= here.last:
                    kind = "doubled" if here.seen.get(m["changedSeq"]) == m["id"] else "order"
                    self._wrong(kind, f"{here.name} got change {m['changedSeq']} after {here.last}")
                here.last = max(here.last, m["changedSeq"])
                here.see([m])
                cursors[e["device"], m["roomId"]] = here.last
                self._fold(state[e["device"]], [m])
                self._final(
                    m, pieces.pop((*conn, m["id"]), None) if m["status"] in ENDED else None, conn in slow, here.name
                )
            elif what == "stream":
                self.counts["pieces"] += 1
                s = e["s"]
                here = open_.get((*conn, s["roomId"]))
                if here is None or here.start is None:
                    self._wrong("leak", f"{e['device']}#{e['conn']} got a piece of a room that it does not read")
                    continue
                self._piece(s, pieces, conn, conn in slow, here.name)
            elif what == "removed":
                here = open_.pop((*conn, e["room"]), None)
                if here is not None and here.start is not None:
                    self._no_hole(here)
            elif what == "closed":
                for key in [key for key in open_ if key[:2] == conn]:
                    here = open_.pop(key)
                    if here.start is not None:
                        self._no_hole(here)
            elif what == "settled":
                self._settled(e, state[e["device"]], cursors)
        for here in open_.values():
            if here.start is not None:
                self._no_hole(here)

    def _fold(self, state: dict[str, Entry], messages: Iterable[Entry]) -> None:
        for m in messages:
            kept = state.get(m["id"])
            if kept is None or m["changedSeq"] > kept["changedSeq"]:
                state[m["id"]] = m

    def _page(self, here: Connection, e: Entry) -> None:
        numbers = [m["changedSeq"] for m in e["messages"]]
        here.see(e["messages"])
        if e["after"] is None:
            return
        if numbers != sorted(set(numbers)) or any(n <= e["after"] for n in numbers):
            self._wrong("order", f"{here.name} was given {numbers[:10]} for what is after {e['after']}")
        here.start, here.last = e["after"], numbers[-1] if e["more"] and numbers else e["head"]
        self._no_hole(here)
        here.start = None

    def _no_hole(self, here: Connection) -> None:
        """Each change that is known and was not delivered gave way to a later one of the same message."""
        known = self._known[here.room]
        assert here.start is not None
        for number in range(here.start + 1, here.last + 1):
            message = known.get(number)
            if message is None or number in here.seen:
                continue
            later = [n for n in self._changes[message] if n > number]
            if not later or (max(later) <= here.last and not any(n in here.seen for n in later)):
                self._wrong("hole", f"{here.name} missed change {number} ({message}) of room {here.room}")

    def _piece(self, s: Entry, pieces: dict[Any, Pieces], conn: Any, slow: bool, name: str) -> None:
        had = pieces.get((*conn, s["messageId"]))
        if had is None or s["attempt"] > had.attempt:
            had = pieces[(*conn, s["messageId"])] = Pieces(s["attempt"], 0, "")
        elif s["attempt"] < had.attempt:
            return
        if s["n"] != had.next:
            if s["n"] < had.next or (had.whole and not slow):
                self._wrong("pieces", f"{name} got piece {s['n']} of {s['messageId']} when {had.next} was due")
            had.whole = False
        had.next = s["next"]
        if s.get("kind") != "reasoning":
            had.text += s["token"]

    def _final(self, m: Entry, had: Pieces | None, slow: bool, name: str) -> None:
        if had is None or not had.whole or m.get("deleted") or had.attempt != m.get("attempt"):
            return
        self.counts["answers added up"] += 1
        if had.text != m["text"] and not (slow and m["text"].startswith(had.text)):
            self._wrong("pieces", f"{name}: the pieces of {m['id']} are not its text: {had.text!r} {m['text']!r}")

    def _prefixes(self, messages: Iterable[Entry], pieces: dict[Any, Pieces], conn: tuple[str, int]) -> None:
        """What an earlier connection had of an answer is how the text begins that it ended with."""
        for m in messages:
            if m["role"] != "bot" or m["status"] not in ENDED or m.get("deleted"):
                continue
            for number in range(conn[1], max(-1, conn[1] - 3), -1):
                had = pieces.pop((conn[0], number, m["id"]), None)
                same = had is not None and had.whole and had.attempt == m.get("attempt")
                if had is not None and same and not m["text"].startswith(had.text):
                    self._wrong("pieces", f"{conn[0]}#{number} had pieces of {m['id']} that are not in its text")

    def _settled(self, e: Entry, state: dict[str, Entry], cursors: dict[tuple[str, str], int]) -> None:
        self.counts["devices settled"] += 1
        user = self._users[e["device"]]
        mine = {room for room, members in self._members.items() if user in members}
        for room in mine - set(e["rooms"]):
            self._wrong("state", f"{e['device']} does not read room {room}, of which {user} is a member")
        for room in mine & set(e["rooms"]):
            head = max((m["changedSeq"] for m in self._rooms[room]), default=0)
            if cursors.get((e["device"], room), 0) != head:
                where = cursors.get((e["device"], room), 0)
                self._wrong("hole", f"{e['device']} is at {where} of room {room}, whose head is {head}")
            for m in self._rooms[room]:
                had = state.get(m["id"])
                if had is None:
                    self._wrong("hole", f"{e['device']} has never seen {m['id']}")
                elif any(had.get(name) != m.get(name) for name in ("changedSeq", "seq", "text", "status", "deleted")):
                    self._wrong("state", f"{e['device']} has {m['id']} otherwise than the database")

    # -- 4. answers

    def _answers(self) -> None:
        asked: dict[str, list[Entry]] = defaultdict(list)
        for m in self._rows.values():
            if m["role"] == "bot":
                asked[m["replyTo"]].append(m)
                self.counts[f"answers {m['status']}"] += 1
                if m["status"] not in ENDED:
                    self._wrong("answer", f"answer {m['id']} is still {m['status']}")
        for m in self._rows.values():
            if m["role"] != "user" or self._bots.get(m["roomId"]) == "off":
                continue
            if len(asked[m["id"]]) > 1 or (self._bots.get(m["roomId"]) == "always" and not asked[m["id"]]):
                self._wrong("answer", f"utterance {m['id']} has {len(asked[m['id']])} answers")

    # -- who may see what

    def _removals(self) -> None:
        """Nothing of a room for those who were never in it, and of what was said after a removal nothing for those."""
        turns: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        began: dict[tuple[str, str], float] = {}  # room, clientId -> when it was first sent
        for e in self._journal:
            if e["e"] == "member":
                turns[e["room"], e["user"]].append(e)
            elif e.get("do") == "send":
                began[e["room"], e["clientId"]] = min(e["began"], began.get((e["room"], e["clientId"]), e["began"]))
        stalled = {(e["device"], e["conn"]) for e in self._journal if e["e"] == "stalled"}
        faults = sorted((e["began"], e["until"]) for e in self._journal if e["e"] == "fault")
        for e in self._journal:
            if e["e"] == "message":
                m = e["m"]
                said = began.get((m["roomId"], m["text"].split(" ", 1)[0])) if m["role"] == "user" else None
                self._may_see(turns[m["roomId"], self._users[e["device"]]], e, said, faults, m["id"])
            elif e["e"] == "stream" and (e["device"], e["conn"]) not in stalled:
                s = e["s"]  # said within the last second
                self._may_see(turns[s["roomId"], self._users[e["device"]]], e, e["t"] - 1.0, faults, s["messageId"])
            elif e["e"] == "done" and e["do"] == "send":
                for turn, following in pairs(turns[e["room"], e["user"]]):
                    if not turn["on"] and turn["t"] < e["began"] and (not following or e["t"] < following["began"]):
                        self._wrong("leak", f"{e['user']} wrote {e['messageId']} after being removed")

    def _may_see(
        self, turns: list[Entry], e: Entry, said: float | None, faults: list[tuple[float, float]], message: str
    ) -> None:
        if not turns:
            self._wrong("leak", f"{e['device']} got {message} of a room that {self._users[e['device']]} was never in")
        for turn, following in pairs(turns):
            if turn["on"] or said is None:
                continue
            limit = turn["t"] + REVOKED_WITHIN_S
            for began, until in faults:  # a pod that can't read who was removed is excused until a little after
                if began < limit and until + AFTER_A_FAULT_S > turn["t"]:
                    limit = max(limit, until + AFTER_A_FAULT_S)
            if said > limit and (following is None or e["t"] < following["began"]):
                self._wrong("leak", f"{e['device']} got {message}, said after {self._users[e['device']]} was removed")


def pairs(turns: list[Entry]) -> Iterable[tuple[Entry, Entry | None]]:
    return zip(turns, [*turns[1:], None], strict=False)


def read(folder: Path) -> Checker:
    with open(folder / "journal.jsonl", encoding="utf-8") as lines:
        return Checker(map(json.loads, lines), json.loads((folder / "rows.json").read_text()))


def report(checker: Checker) -> str:
    """What was found, for a person."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for kind, what in checker.violations:
        kinds[kind].append(what)
    faults: dict[str, int] = defaultdict(int)
    for e in checker._journal:
        if e["e"] == "fault":
            faults[e["kind"]] += 1
    lines = [f"faults injected: {sum(faults.values())}"]
    recovery = checker.recovery()
    for kind in sorted(faults):
        took = recovery.get(kind, [])
        shown = f"   recovery median {statistics.median(took):.2f} s, worst {max(took):.2f} s" if took else ""
        lines.append(f"  {kind:22} {faults[kind]:5}{shown}")
    every = [s for took in recovery.values() for s in took]
    if every:
        lines.append(f"time to recover: median {statistics.median(every):.2f} s, worst {max(every):.2f} s")
    lines += [f"{name}: {count}" for name, count in checker.counts.items()]
    names = {
        "lost": "lost", "doubled": "doubled", "order": "out of order", "hole": "holes", "leak": "seen without right",
        "answer": "answers not ended or not one", "pieces": "answers that don't add up", "state": "states that differ",
    }  # fmt: skip
    for kind, name in names.items():
        lines.append(f"{name}: {len(kinds[kind])}")
        lines += [f"    {what}" for what in kinds[kind][:SHOWN_OF_A_KIND]]
    return "\n".join(lines)
