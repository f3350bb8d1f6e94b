"""Sliding windows, from both sides of the limit."""

from services.limits import Limit


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
