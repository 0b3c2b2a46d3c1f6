"""The models of the EA family: ratings and printed resolution only, as in the catalogue."""

from __future__ import annotations

from cycler_unit.drivers.ea import EaSource
from cycler_unit.drivers.ea_el import EaLoad
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


class Psb10060_120(EaBidirectional):
    """PSB 10060-120: 60 V, 120 A, 3000 W, both directions."""

    kind = "ea-psb-10060-120"
    model = "PSB 10060-120"
    nominal_v, nominal_a, nominal_w = 60.0, 120.0, 3000.0
    step_v, step_a, step_w = 0.01, 0.1, 1.0


class Psb10200_25(EaBidirectional):
    """PSB 10200-25: 200 V, 25 A, 1500 W, both directions."""

    kind = "ea-psb-10200-25"
    model = "PSB 10200-25"
    nominal_v, nominal_a, nominal_w = 200.0, 25.0, 1500.0
    step_v, step_a, step_w = 0.1, 0.01, 1.0


class Ps2384_05B(EaSource):
    """PS 2384-05 B, SCPI: two outputs of 84 V, 5 A, 160 W, source only."""

    kind = "ea-ps-2384-05-b"
    model = "PS 2384-05 B"
    channels = 2
    nominal_v, nominal_a, nominal_w = 84.0, 5.0, 160.0
    step_v, step_a, step_w = 0.01, 0.01, 0.1


class El9080_170B(EaLoad):
    """EL 9080-170 B: load of 80 V, 170 A, 2400 W."""

    kind = "ea-el-9080-170-b"
    model = "EL 9080-170 B"
    nominal_v, nominal_a, nominal_w = 80.0, 170.0, 2400.0
    step_v, step_a, step_w = 0.01, 0.1, 1.0
