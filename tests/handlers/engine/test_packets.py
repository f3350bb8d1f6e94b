import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.engine.packets import (
    MAX_PACKETS_PER_PAYLOAD,
    Outgoing,
    PacketError,
    binary_frame,
    decode_packet,
    decode_payload,
    encode_payload,
    open_packet,
)


@pytest.mark.parametrize(
    "encoded, packet",
    [
        ("4hello", ("4", "hello")),
        ("4", ("4", "")),
        ("2probe", ("2", "probe")),
        ("412", ("4", "12")),
        ("bAQIDBA==", ("4", b"\x01\x02\x03\x04")),
        (b"\x04abc", ("4", b"\x04abc")),
    ],
)
def test_a_packet_is_its_type_and_its_data(encoded: str | bytes, packet: tuple[str, str | bytes]) -> None:
    assert decode_packet(encoded) == packet


@pytest.mark.parametrize("encoded", ["", "abc", "7", "9", "²", "b!", "bAQI", "bAQ==x", "bé", " 4"])
def test_what_is_no_packet_is_refused(encoded: str) -> None:
    with pytest.raises(PacketError):
        decode_packet(encoded)


@given(st.text() | st.binary())
def test_decoding_a_packet_raises_nothing_but_its_own_error(encoded: str | bytes) -> None:
    try:
        kind, data = decode_packet(encoded)
    except PacketError:
        return
    assert kind in "0123456"
    assert isinstance(data, str | bytes)


@given(st.binary() | st.text(alphabet="0123456b=\x1eA\u20ac").map(str.encode))
def test_decoding_a_payload_raises_nothing_but_its_own_error(body: bytes) -> None:
    try:
        packets = decode_payload(body)
    except PacketError:
        return
    assert len(packets) == body.count(b"\x1e") + 1


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\x1e", exclude_categories=["Cs"])) | st.binary(), min_size=1
    )
)
def test_a_payload_comes_back_as_it_was(messages: list[str | bytes]) -> None:
    packets = [Outgoing(m, binary=True) if isinstance(m, bytes) else Outgoing(("4" + m).encode()) for m in messages]
    assert [packet.data for packet in decode_payload(encode_payload(packets))] == messages


def test_a_payload_of_nothing_but_separators_is_refused_before_it_is_taken_apart() -> None:
    with pytest.raises(PacketError):
        decode_payload(b"\x1e" * MAX_PACKETS_PER_PAYLOAD)


def test_a_handshake_announces_fractions_of_a_second_in_milliseconds() -> None:
    opening = open_packet("abc", ["websocket"], 0.3, 0.2, 1_000_000)
    assert opening.startswith(b"0{")
    assert json.loads(opening[1:]) == {
        "sid": "abc",
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }


@pytest.mark.parametrize("size, header", [(125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_binary_frame_has_the_shortest_length_field(size: int, header: int) -> None:
    frame = binary_frame(b"x" * size)
    assert frame[0] == 0x82
    assert len(frame) == header + size
