"""What a pod remembers of who wrote where, and how much of it."""

from services.writers import Writers


def test_rooms_and_writers_are_remembered_up_to_a_bound_and_the_oldest_go():
    writers = Writers(most=6)
    for room in ("a", "b", "c"):
        writers.saw(room, "ann", "off", 1)
    assert writers.remembered == 6 and [writers.stamp(room, "ann", True) for room in "abc"] == [1, 1, 1]
    writers.saw("b", "bob", "off", 1)
    assert writers.remembered == 5
    assert [writers.stamp(room, "ann", True) for room in "abc"] == [None, 1, 1] and writers.stamp("b", "bob", True) == 1
    for n in range(10):
        writers.saw("d", f"user {n}", "off", 1)  # one room past the bound by itself
    assert 0 <= writers.remembered <= 6


def test_a_moved_stamp_forgets_who_wrote_under_the_old_one():
    writers = Writers()
    writers.saw("a", "ann", "off", 1)
    writers.saw("a", "bob", "off", 2)
    assert writers.stamp("a", "ann", False) is None and writers.stamp("a", "bob", False) == 2
    writers.forget("a")
    assert writers.remembered == 0 and writers.when("a") is None


def test_a_bot_that_may_be_asked_is_asked_about():
    writers = Writers()
    for room, when in (("a", "always"), ("b", "mention"), ("c", "off")):
        writers.saw(room, "ann", when, 1)
    assert [[writers.stamp(room, "ann", may) for may in (False, True)] for room in "abc"] == [
        [None, None],
        [1, None],
        [1, 1],
    ]
