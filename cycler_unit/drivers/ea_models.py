"""The models of the EA family: ratings and printed resolution only, as in the catalogue."""

from __future__ import annotations

from cycler_unit.drivers.ea import EaSource
from cycler_unit.drivers.ea_psb import EaBidirectional


class Psb10060_60(EaBidirectional):
    """PSB 10060-60: 60 V, 60 A, 1500 W, both directions."""

    kind = "ea-psb-10060-60"
    model = "PSB 10060-60"
    nominal_v, nominal_a, nominal_w = 60.0, 60.0, 1500.0
    step_v, step_a, step_w = 0.01, 0.01, 1.0


class Psb10010_05Sim(EaBidirectional):
    """The simulated bench's supply: 10 V, 5 A, 50 W, both directions; no such device is sold."""

    kind = "ea-psb-10010-05-sim"
    model = "PSB 10010-05 SIM"
    nominal_v, nominal_a, nominal_w = 10.0, 5.0, 50.0
    step_v, step_a, step_w = 0.0001, 0.0001, 0.001


class Ps2084_05B(EaSource):
    """PS 2084-05 B with TFT display (2020 on): 84 V, 5 A, 160 W, source only."""

    kind = "ea-ps-2084-05-b"
    model = "PS 2084-05 B"
    nominal_v, nominal_a, nominal_w = 84.0, 5.0, 160.0
    step_v, step_a, step_w = 0.01, 0.01, 0.1
