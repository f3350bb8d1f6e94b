"""Sliding windows, from both sides of the limit."""

from services.limits import Limit, Window


class Nowhere:
    async def take(self, name, limit, period_s, act):
        raise AssertionError("not asked")

    def give_back(self, name, act):
        raise AssertionError("nothing to give back")


async def test_what_one_pod_can_say_it_says_without_waiting():
    limit = Limit("sends", 2, 10)
    taken = [limit.take_here("ann") for _ in range(3)]
    assert [one is not None for one in taken] == [True, True, False]
    assert (await limit.take("ann")).wait_s > 9 and limit.take_here("bob") is not None
    limit.give_back("ann", taken[0])
    assert limit.take_here("ann") is not None and limit.take_here("ann") is None


async def test_what_pods_count_together_one_does_not_say_alone():
    assert Limit("sends", 2, 10, Nowhere()).take_here("ann") is None
    assert Limit("sends", 0, 10, Nowhere()).take_here("ann").wait_s == 0  # no limit


def test_of_a_steady_sender_no_more_is_kept_than_a_period_of_acts():
    now = 0.0
    window = Window(20, 10, lambda: now)
    for _ in range(1000):
        now += 0.5
        window.take("ann")
    assert len(window._acts["ann"]) == 20 and window.wait_s("ann") == 0.5
