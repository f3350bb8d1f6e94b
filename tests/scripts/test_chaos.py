"""A minute of scripts/chaos.py finds nothing wrong; and its checker finds whatever is made wrong in what that minute left."""

import copy
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from chaos.checker import Checker, read, report

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def minute(tmp_path_factory) -> Path:
    """The journal and the rows of a short run, which must have found nothing."""
    folder = tmp_path_factory.mktemp("chaos")
    options = ["--minutes", "0.7", "--clients", "60", "--sends", "12", "--every", "1.5", "--seed", "20261125"]
    command = [sys.executable, "scripts/chaos.py", *options, "--keep", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONWARNINGS": "ignore"}
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "nothing is wrong" in done.stdout
    return folder


@pytest.fixture(scope="module")
def found(minute):
    journal = [json.loads(line) for line in (minute / "journal.jsonl").read_text().splitlines()]
    return journal, json.loads((minute / "rows.json").read_text())


def kinds(journal, rows):
    return Counter(kind for kind, _ in Checker(journal, rows).check())


def test_the_run_was_one(minute, found):
    journal, rows = found
    checker = read(minute)
    assert checker.check() == []
    counts = Counter(e["e"] for e in journal)
    assert len({e["kind"] for e in journal if e["e"] == "fault"}) >= 12
    assert checker.counts["acknowledged"] > 100 and checker.counts["answers added up"] > 20
    assert checker.counts["devices settled"] == 60 and counts["removed"] and counts["probe"] > 20
    assert {e["door"] for e in journal if e["e"] == "open"} == {"native", "socketio", "polling"}
    shown = report(checker)
    for line in ("lost: 0", "doubled: 0", "out of order: 0", "time to recover: median"):
        assert line in shown


def sent(journal, rows):
    """A plain message of an acknowledged send that everybody has: (its row, who sent it)."""
    ids = {m["id"]: m for m in rows["messages"]}
    for e in journal:
        if e["e"] == "done" and e["do"] == "send" and ids[e["messageId"]]["text"] == e["text"]:
            return ids[e["messageId"]], e
    raise AssertionError("nothing was sent")


def events(journal, newest=None):
    """Two events that follow one another on one connection in one room, as places in the journal.

    The first is the newest form of its message, when ``newest`` says which change that is.
    """
    last = {}
    for place, e in enumerate(journal):
        if e["e"] in ("joined", "closed", "removed"):
            last = {key: at for key, at in last.items() if key[0] != e["device"]}
        elif e["e"] == "message":
            key = (e["device"], e["conn"], e["m"]["roomId"])
            if key in last and journal[last[key]]["m"]["id"] != e["m"]["id"] and e["m"]["role"] == "user":
                return last[key], place
            if newest is None or newest[e["m"]["id"]] == e["m"]["changedSeq"]:
                last[key] = place
            else:
                last.pop(key, None)
    raise AssertionError("nothing was delivered")


def lose(journal, rows):
    rows["messages"].remove(sent(journal, rows)[0])


def double(journal, rows):
    row, _ = sent(journal, rows)
    last = max(m["seq"] for m in rows["messages"] if m["roomId"] == row["roomId"])
    rows["messages"].append(
        {**row, "id": "another", "seq": last + 1, "changedSeq": 10**6, "clientId": "made-by-a-server"}
    )


def acknowledge_as_another(journal, rows):
    _, done = sent(journal, rows)
    journal.append({**done, "messageId": "another"})


def forget_an_edit(journal, rows):
    ids = {m["id"]: m for m in rows["messages"]}
    for e in journal:
        if e["e"] == "done" and e["do"] == "edit" and not ids[e["messageId"]].get("deleted"):
            ids[e["messageId"]]["text"] = "as it was"
            return
    raise AssertionError("nothing was edited")


def bring_back(journal, rows):
    ids = {m["id"]: m for m in rows["messages"]}
    done = next(e for e in journal if e["e"] == "done" and e["do"] == "delete")
    ids[done["messageId"]].pop("deleted")


def swap(journal, rows):
    one, other = events(journal)
    journal[one]["m"], journal[other]["m"] = journal[other]["m"], journal[one]["m"]


def deliver_twice(journal, rows):
    _, place = events(journal)
    journal.insert(place, copy.deepcopy(journal[place]))


def deliver_once_less(journal, rows):
    """Of a change that no later one of the same message replaced, on any connection."""
    one, _ = events(journal, {m["id"]: m["changedSeq"] for m in rows["messages"]})
    del journal[one]


def stop_early(journal, rows):
    """The last change of a room does not reach one device, which doesn't join again."""
    rooms = {e["device"]: e["rooms"] for e in journal if e["e"] == "settled"}
    done = set()
    for place in range(len(journal) - 1, -1, -1):
        e = journal[place]
        if e["e"] == "joined":
            done.add((e["device"], e["room"]))
        elif e["e"] == "message":
            room = e["m"]["roomId"]
            if room in rooms.get(e["device"], ()) and (e["device"], room) not in done:
                del journal[place]
                return
    raise AssertionError("nothing was delivered")


def show_a_stranger(journal, rows):
    one, _ = events(journal)
    room = journal[one]["m"]["roomId"]
    stranger = next(
        e for e in journal if e["e"] == "open" and not any(
            m["e"] == "member" and (m["room"], m["user"]) == (room, e["user"]) for m in journal
        )
    )  # fmt: skip
    journal.append({**journal[one], "device": stranger["device"], "conn": stranger["conn"]})


def show_after_a_removal(journal, rows):
    row, done = sent(journal, rows)
    seen = next(e for e in journal if e["e"] == "message" and e["m"]["id"] == row["id"])
    user = next(e["user"] for e in journal if e["e"] == "open" and e["device"] == seen["device"])
    journal[:] = [
        e
        for e in journal
        if e["e"] != "fault" and (e["e"], e.get("user"), e.get("room")) != ("member", user, row["roomId"])
    ]
    journal.append(
        {"e": "member", "room": row["roomId"], "user": user, "on": False, "began": 0.0, "t": done["began"] - 10}
    )


def let_the_removed_write(journal, rows):
    _, done = sent(journal, rows)
    journal.append(
        {"e": "member", "room": done["room"], "user": done["user"], "on": False, "began": 0.0, "t": done["began"] - 1}
    )


def an_answer(rows):
    return next(m for m in rows["messages"] if m["role"] == "bot" and m["status"] == "complete")


def leave_an_answer_running(journal, rows):
    an_answer(rows)["status"] = "streaming"


def answer_twice(journal, rows):
    rows["messages"].append({**an_answer(rows), "id": "another", "changedSeq": 10**6, "seq": 10**6})


def answer_nothing(journal, rows):
    rows["messages"].remove(an_answer(rows))


def pieces(journal, n):
    """Where pieces of this number stand that somebody got who can't be a slow reader, and who saw the end as well."""
    slow = {(e["device"], e["conn"]) for e in journal if e["e"] == "stalled" or e.get("door") == "polling"}
    ended = {
        (e["device"], e["conn"], e["m"]["id"], e["m"]["attempt"])
        for e in journal
        if e["e"] == "message" and e["m"]["status"] == "complete" and e["m"]["role"] == "bot"
    }
    for place, e in enumerate(journal):
        if e["e"] != "stream" or e["s"]["n"] != n or (e["device"], e["conn"]) in slow:
            continue
        if (e["device"], e["conn"], e["s"]["messageId"], e["s"]["attempt"]) in ended:
            yield place


def garble_a_piece(journal, rows):
    journal[next(pieces(journal, 0))]["s"]["token"] += "!"


def lose_a_piece(journal, rows):
    del journal[next(pieces(journal, 1))]


def repeat_a_piece(journal, rows):
    place = next(pieces(journal, 1))
    journal.insert(place, copy.deepcopy(journal[place]))


def remember_otherwise(journal, rows):
    sent(journal, rows)[0]["status"] = "stopped"


@pytest.mark.parametrize(
    "plant, kind",
    [
        (lose, "lost"), (double, "doubled"), (acknowledge_as_another, "doubled"), (forget_an_edit, "lost"),
        (bring_back, "lost"), (swap, "order"), (deliver_twice, "doubled"), (deliver_once_less, "hole"),
        (stop_early, "hole"), (show_a_stranger, "leak"), (show_after_a_removal, "leak"),
        (let_the_removed_write, "leak"), (leave_an_answer_running, "answer"), (answer_twice, "answer"),
        (answer_nothing, "answer"), (garble_a_piece, "pieces"), (lose_a_piece, "pieces"), (repeat_a_piece, "pieces"),
        (remember_otherwise, "state"),
    ],
)  # fmt: skip
def test_whatever_is_made_wrong_is_caught(found, plant, kind):
    journal, rows = copy.deepcopy(found)
    plant(journal, rows)
    assert kinds(journal, rows)[kind] > 0
