"""Max-min fair shares of ports that several activities use at the same time.

Three activities demand shares of one port at full speed; what one does not need, others get:

    demands   0.2    0.5    0.9     sum 1.6: too much
    shares    0.2    0.4    0.4     sum 1.0
    speeds    1.0    0.8    0.44
"""

from collections.abc import Sequence

# Overload of a port, relative to its capacity, that is no more than rounding.
_ROUNDING = 1e-12

# (tier, share) pairs: the share of each tier's port that an activity takes at full speed.
Demand = tuple[tuple[int, float], ...]


def fair_speeds(demands: Sequence[Demand], tiers: int) -> list[float]:
    """Speed of each activity, 0 < speed <= 1: max-min fair shares of every tier's port.

    Where every demand can be met all run at full speed. Otherwise each port is shared max-min
    fairly. The activity that gets least is settled at the speed that its scarcest port allows, and
    what it does not take elsewhere is shared again among the others (progressive filling: Bertsekas
    and Gallager, Data Networks, section 6.5.2). Capacity that remains at the end goes to activities
    that can use it, the slowest first.

    Args:
        demands: for each activity the ports that it uses.
        tiers: number of tiers.
    """
    load = [0.0] * tiers
    for demand in demands:
        for tier, share in demand:
            load[tier] += share
    if max(load) <= 1 + _ROUNDING:
        return [1.0] * len(demands)
    speeds = [0.0] * len(demands)
    room = [1.0] * tiers
    unsettled = list(range(len(demands)))
    while unsettled:
        offers = _offers(demands, unsettled, room)
        least = min(offers.values())
        for i, offer in offers.items():
            if offer <= least * (1 + _ROUNDING):
                speeds[i] = offer
                unsettled.remove(i)
                for tier, share in demands[i]:
                    room[tier] = max(0.0, room[tier] - share * offer)
    for i in sorted(range(len(demands)), key=lambda i: speeds[i]):
        extra = min((room[tier] / share for tier, share in demands[i]), default=0.0)
        extra = min(extra, 1.0 - speeds[i])
        speeds[i] += extra
        for tier, share in demands[i]:
            room[tier] -= share * extra
    return speeds


def _offers(
    demands: Sequence[Demand], unsettled: Sequence[int], room: Sequence[float]
) -> dict[int, float]:
    """The speed that each activity's scarcest port allows when every port is shared fairly."""
    offers = dict.fromkeys(unsettled, 1.0)
    for port, free_share in enumerate(room):
        free = free_share
        claims = sorted((s, i) for i in unsettled for tier, s in demands[i] if tier == port)
        for rank, (share, i) in enumerate(claims):
            granted = min(share, free / (len(claims) - rank))
            free -= granted
            offers[i] = min(offers[i], granted / share)
    return offers
