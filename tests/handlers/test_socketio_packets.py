import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers.engine import PacketError
from handlers.socketio_packets import MAX_ATTACHMENTS, MAX_DEPTH, RESERVED_EVENTS, Packet

ATTACHED = '{"_placeholder":true,"num":%s}'


@pytest.mark.parametrize(
    "text, kind, namespace, ack_id, data",
    [
        ("0", 0, "/", None, None),
        ('0{"token":"1"}', 0, "/", None, {"token": "1"}),
        ("0/custom", 0, "/custom", None, None),
        ("0/custom,{}", 0, "/custom", None, {}),
        ("1/custom,", 1, "/custom", None, None),
        ('2["a",1,"2",{"3":[true]}]', 2, "/", None, ["a", 1, "2", {"3": [True]}]),
        ('2/custom,456["a"]', 2, "/custom", 456, ["a"]),
        ("3456[1]", 3, "/", 456, [1]),
        ('50-7["a"]', 5, "/", 7, ["a"]),
        ('2["a",{"_placeholder":true,"num":0}]', 2, "/", None, ["a", {"_placeholder": True, "num": 0}]),
    ],
)
def test_a_packet_is_read(text: str, kind: int, namespace: str, ack_id: int | None, data: object) -> None:
    packet = Packet.read(text)
    assert (packet.packet_type, packet.namespace, packet.id, packet.data) == (kind, namespace, ack_id, data)


@pytest.mark.parametrize(
    "text",
    [
        *("", "abc", "7", "²", "-1"),
        *("2", "2{}", "2[]", "21", '2"a"', "2[1]", "2[null]", '2[["a"]]', "2null"),
        *('2abc["a"]', '2-1["a"]', '2["a"', '2["a"]x', "2[NaN]", '2["a",NaN]', '2["a",Infinity]'),
        *('2["a",1e999]', '212345678901234567["a"]', '2١["a"]'),
        *(f'2["{name}"]' for name in RESERVED_EVENTS),
        *("0[]", '0"a"', "0null", "01", "0/x,1{}"),
        *("1{}", "1null", "11"),
        *("3[]", "3", "31", "31{}", '31"a"'),
        *("4", '4{"message":"x"}', '4"x"'),
        *('5["a"]', "6[1]", '21-["a"]', "01-{}", "51-{}", '511-["a"]', '59999999999-["a"]', '51-["connect"]'),
        '50-["a",' + ATTACHED % 0 + "]",
        '2["a",' + "[" * 900 + "]" * 900 + "]",
        '2["a",' + "[" * 100_000 + "]" * 100_000 + "]",
        '2["a",' + '{"a":' * 900 + "1" + "}" * 900 + "]",
    ],
)
def test_what_is_no_packet_is_refused(text: str) -> None:
    with pytest.raises(PacketError):
        Packet.read(text)


def test_half_a_surrogate_pair_is_json_and_no_text() -> None:
    assert Packet.read('2["a","x\\ud83dy","\\ud83d\\ude00","\\\\ud83d"]').data == ["a", "x\0y", "\U0001f600", "\\ud83d"]


def test_wide_json_is_not_taken_for_deep_json() -> None:
    assert len(Packet.read('2["a"' + ",[]" * 10_000 + "]").data) == 10_001


def test_json_may_be_as_deep_as_the_limit() -> None:
    packet = '2["a",' + "[" * (MAX_DEPTH - 2) + "1" + "]" * (MAX_DEPTH - 2) + "]"
    assert Packet.read(packet).data[0] == "a"
    with pytest.raises(PacketError):
        Packet.read(packet.replace("1", "[[1]]"))


@pytest.mark.parametrize("number", ["-1", "2", "true", "1.0", '"0"', "null", "[]"])
def test_a_placeholder_names_one_of_the_attachments(number: str) -> None:
    packet = Packet.read('52-["a",' + ATTACHED % number + "]")
    assert not packet.add_attachment(b"one")
    with pytest.raises(PacketError):
        packet.add_attachment(b"two")


def test_text_is_no_attachment() -> None:
    with pytest.raises(PacketError):
        Packet.read('51-["a",' + ATTACHED % 0 + "]").add_attachment("text")


def test_ten_attachments_are_allowed_and_take_their_places() -> None:
    places = ",".join(ATTACHED % i for i in reversed(range(MAX_ATTACHMENTS)))
    packet = Packet.read(f'5{MAX_ATTACHMENTS}-["a",{places}]')
    done = [packet.add_attachment(bytes([i])) for i in range(MAX_ATTACHMENTS)]
    assert done == [False] * 9 + [True]
    assert packet.data == ["a", *(bytes([i]) for i in reversed(range(MAX_ATTACHMENTS)))]


def test_what_goes_out_is_compact_and_numbers_its_placeholders_from_zero() -> None:
    packet = Packet(2, data=["a", {"b": [b"x", "한"]}, b"y"], namespace="/custom", id=7)
    assert packet.encode() == [
        '52-/custom,7["a",{"b":[{"_placeholder":true,"num":0},"한"]},{"_placeholder":true,"num":1}]',
        b"x",
        b"y",
    ]


FRAGMENTS = st.sampled_from(
    ["0", "1", "2", "5", "-", "/", "/a,", "12", "[", "]", "{", "}", '"a"', ",", '{"_placeholder":true,"num":0}', ":"]
)


@given(st.text() | st.lists(FRAGMENTS, max_size=12).map("".join), st.lists(st.binary(max_size=3), max_size=3))
@example('51-["a",{"_placeholder":true,"num":0}]', [b"x", b"y"])
def test_reading_raises_nothing_but_its_own_error(text: str, attachments: list[bytes]) -> None:
    try:
        packet = Packet.read(text)
        for attachment in attachments[: packet.attachment_count]:
            packet.add_attachment(attachment)
    except PacketError:
        return
    assert packet.packet_type in (0, 1, 2, 3, 5, 6)
    assert packet.namespace.startswith("/")
