"""Versions of tariffs, energies, times and zones for hypothesis: small numbers and the largest ones."""

from hypothesis import strategies as st

from contracts.tariff_format import OPEN_BOUND_WH, Slab, TariffVersion, TimeOfUse

prices = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1))
energies_wh = st.one_of(st.integers(0, 60), st.integers(0, 2**53 - 1))
zones_s = st.sampled_from((0, 19_800, -34_200, 50_400, -43_200))
times_s = st.integers(0, 2**34)


@st.composite
def versions(draw: st.DrawFn) -> TariffVersion:
    count = draw(st.integers(1, 5))
    bounds = sorted(draw(st.sets(st.one_of(st.integers(1, 60), st.integers(1, 2**54)), min_size=4, max_size=4)))
    slabs = tuple(Slab(draw(prices), bound) for bound in (*bounds[: count - 1], OPEN_BOUND_WH))
    windows = []
    for _ in range(draw(st.integers(0, 3))):
        start, end = sorted(draw(st.lists(st.integers(0, 1_440), min_size=2, max_size=2, unique=True)))
        own = tuple(draw(prices) for _ in range(count))
        windows.append(TimeOfUse(draw(st.integers(1, 127)), start, end, own))
    lowest = min([slab.price_wei_per_wh for slab in slabs] + [min(one.prices_wei_per_wh) for one in windows])
    allowance = draw(st.sampled_from((0, 7, 40, 10**6)))
    period_days = draw(st.sampled_from((0, 0, 1, 7, 30, 366)))
    return TariffVersion(
        slabs,
        tuple(windows),
        whole=draw(st.booleans()),
        period_days=period_days,
        anchor_day=draw(st.sampled_from((0, 5, 19_000, 2**24 - 1))) if period_days else 0,
        export_price_wei_per_wh=draw(prices),
        standing_wei_per_day=draw(st.sampled_from((0, 1, 2**80 - 1))),
        allowance_wh=allowance,
        allowance_price_wei_per_wh=draw(st.sampled_from((0, lowest // 2, lowest))) if allowance else 0,
    )
