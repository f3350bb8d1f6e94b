"""The decoders under any input: a command, or one of two exceptions; nothing else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from handlers import protocol

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
EVENTS = st.sampled_from([*protocol.COMMANDS, "nonsense", ""])
FIELDS = st.sampled_from(["roomId", "text", "clientId", "replyTo", "messageId", "after", "seq", "on", "token"])


def decode(frame):
    try:
        command_id, event, command = protocol.decode_frame(frame)
    except (protocol.Unintelligible, protocol.BadCommand) as fault:
        assert fault.error.code in ("request.invalid", "request.unknown_event")
        return None
    assert isinstance(command, protocol.COMMANDS[event].command)
    return command


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes(frame):
    decode(frame)


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.dictionaries(FIELDS, ANYTHING), ANYTHING)
def test_any_json(event, data, command_id):
    frame = json.dumps({"event": event, "id": command_id, "data": data})
    try:
        body = frame.encode()
    except UnicodeEncodeError:
        return
    decode(body)


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.dictionaries(FIELDS, ANYTHING) | ANYTHING)
def test_any_values_from_a_socketio_packet(event, data):
    try:
        command = protocol.convert_command(event, data)
    except (protocol.Unintelligible, protocol.BadCommand) as fault:
        assert fault.error.code in ("request.invalid", "request.unknown_event")
    else:
        assert isinstance(command, protocol.COMMANDS[event].command)


@pytest.mark.parametrize("doors", [protocol.decode_frame, None])
def test_both_doors_read_the_same_command(doors):
    data = {"roomId": "r", "text": "t", "clientId": "c", "more": 1}
    native = protocol.decode_frame(json.dumps({"id": "a", "event": "send", "data": data}).encode())
    assert native == ("a", "send", protocol.convert_command("send", data))
    assert native[2] == protocol.Send("r", "t", "c", UNSET)


def test_a_whole_number_may_be_written_with_a_fraction():
    """As some languages write every number."""
    for written, meant in (("5.0", 5), ("1e3", 1000), ("-0.0", 0), ("9007199254740992.0", 2**53)):
        frame = f'{{"event":"join","id":1,"data":{{"roomId":"r","after":{written}}}}}'.encode()
        join = protocol.decode_frame(frame)[2]
        assert join == protocol.Join("r", meant) == protocol.convert_command("join", json.loads(frame)["data"])
        assert type(join.after) is int
    for data in ('{"roomId":"r","seq":5.5}', '{"roomId":"r","seq":-1.0}', '{"roomId":"r","seq":1e30}', '{"roomId":"r","seq":1e400}',
                 '{"roomId":"r","seq":"5.0"}', '{"roomId":"r","seq":[5.0]}'):  # fmt: skip
        with pytest.raises(protocol.BadCommand) as fault:
            protocol.decode_frame(b'{"event":"read","data":' + data.encode() + b"}")
        assert fault.value.error.field == "seq", data
    with pytest.raises(protocol.BadCommand) as fault:
        protocol.convert_command("read", {"seq": 5.0, "roomId": 7.0})
    assert fault.value.error.field == "roomId"


def test_a_wrong_field_is_named_by_its_path():
    with pytest.raises(protocol.BadCommand) as fault:
        protocol.decode_frame(
            b'{"event":"send","id":1,"data":{"roomId":"r","text":"x","clientId":"' + b"c" * 65 + b'"}}'
        )
    assert fault.value.error.field == "clientId" and fault.value.command_id == 1
