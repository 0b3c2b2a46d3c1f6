"""Devices with a small web server: ESPHome nodes, ESP32 relay boards and lamps (devices.md section 9).

None of them is safety equipment: a relay board that loses its network keeps its relays as they are.
"""

from __future__ import annotations

from wire.catalogue import Kind, KindControl, KindMeasure

# Asked once a second; three seconds miss two answers of a device on a wireless network.
MAX_AGE_S = 3.0
PERIOD_S = 1.0
# A sensor of the ESP32 boards that is absent or broken.
ABSENT = -255.0

HTTP_LINK = {"timeout_s": 2.0}


def _measure(
    name: str, unit: str, resolution: float, accuracy: float, *sentinels: float, frozen_s: float | None = None
) -> KindMeasure:
    return KindMeasure(
        name=name,
        unit=unit,
        resolution=resolution,
        accuracy=accuracy,
        sentinels=sentinels,
        max_age_s=MAX_AGE_S,
        frozen_s=frozen_s,
        period_s=PERIOD_S,
    )


def _state(name: str) -> KindMeasure:
    """Return a measure that is 0 or 1, exactly."""
    return _measure(name, "bool", 1.0, 0.0)


def _switch(name: str, label: str, order: int) -> KindControl:
    return KindControl(
        name=name, label=label, unit="bool", minimum=0.0, maximum=1.0, step=1.0,
        switch=True, safe=0.0, measure=name, order=order,
    )  # fmt: skip


# A DHT22 says 0.1 °C and 0.1 %: its data sheet gives 0.5 °C and 2 %. Air stands still for hours at that
# resolution, so equal readings mean nothing and there is no frozen_s.
def _air_c(name: str, *sentinels: float) -> KindMeasure:
    return _measure(name, "°C", 0.1, 0.5, *sentinels)


def _air_pct(name: str, *sentinels: float) -> KindMeasure:
    return _measure(name, "%", 0.1, 2.0, *sentinels)


# The relays and sensors of the climate box it was built for; a link names its own (docs/bench_devices.md).
# Down stops the pumps before it closes the valves behind them.
ESPHOME_RELAYS = {"pump_out": "relay_1", "pump_in": "relay_2", "valve_out": "relay_3", "valve_in": "relay_4"}
ESPHOME_SENSORS = {
    "temperature_c": "internal_temperature",
    "humidity_pct": "internal_humidity",
    "probe_temperature_c": "ds18b20_temperature",
}

ESPHOME_NODE = Kind(
    key="esphome-node",
    label="ESPHome node: four relays, three sensors",
    maker="ESPHome",
    model="node",
    type="Relay",
    family="esphome",
    driver="cycler_unit.drivers.esphome:EsphomeNode",
    role="auxiliary",
    link="http",
    link_settings=HTTP_LINK,
    identity=r"^ESPHome,\s*node\s*,",
    probe="",
    measures=(
        _air_c("temperature_c"),
        _air_pct("humidity_pct"),
        # DS18B20: 12 bits, 0.5 °C by its data sheet; 85 °C is what it says before its first conversion,
        # and -127 °C what the library says of a sensor that is gone.
        _measure("probe_temperature_c", "°C", 0.0625, 0.5, 85.0, -127.0),
        *(_state(name) for name in ESPHOME_RELAYS),
    ),
    controls=(
        _switch("pump_out", "Pump out", 0),
        _switch("pump_in", "Pump in", 0),
        _switch("valve_out", "Valve out", 1),
        _switch("valve_in", "Valve in", 1),
    ),
    settings={"relays": ESPHOME_RELAYS, "sensors": ESPHOME_SENSORS},
)

ESP32_RELAY_BOARD = Kind(
    key="esp32-relay-board",
    label="ESP32 relay board with climate sensors",
    maker="ESP32",
    model="relay board",
    type="Relay",
    family="esp32",
    driver="cycler_unit.drivers.esp32:RelayBoard",
    role="auxiliary",
    link="http",
    link_settings=HTTP_LINK,
    identity=r"^ESP32,\s*relay board\s*,",
    probe="",
    measures=(
        _measure("pcb_temperature_c", "°C", 0.1, 2.0, ABSENT),
        _measure("roots_temperature_c", "°C", 0.0625, 0.5, ABSENT, 85.0, -127.0),
        _air_c("ext_temperature_c", ABSENT),
        _air_pct("ext_humidity_pct", ABSENT),
        _air_c("int_temperature_c", ABSENT),
        _air_pct("int_humidity_pct", ABSENT),
        *(_state(f"relay_{n}") for n in range(4)),
        # Counts by itself, so that the same number for ten seconds is a page that nobody writes any more.
        _measure("uptime_s", "s", 1.0, 1.0, frozen_s=10.0),
    ),
    controls=tuple(_switch(f"relay_{n}", f"Relay {n}", n) for n in range(4)),
)

ESP32_PWM_LAMP = Kind(
    key="esp32-pwm-lamp",
    label="ESP32 lamp of four dimmed channels",
    maker="ESP32",
    model="PWM lamp",
    type="Lamp",
    family="esp32",
    driver="cycler_unit.drivers.esp32:PwmLamp",
    role="auxiliary",
    link="http",
    link_settings=HTTP_LINK,
    identity=r"^ESP32,\s*PWM lamp\s*,",
    probe="",
    measures=(
        _measure("pcb_temperature_c", "°C", 0.1, 2.0, ABSENT),
        *(_measure(f"duty_{n}_pct", "%", 1.0, 0.5) for n in range(4)),
    ),
    controls=tuple(
        KindControl(
            name=f"duty_{n}_pct", label=f"Channel {n}", unit="%", minimum=0.0, maximum=100.0, step=1.0,
            safe=0.0, measure=f"duty_{n}_pct", order=n,
        )
        for n in range(4)
    ),
)  # fmt: skip

ROWS: tuple[Kind, ...] = (ESPHOME_NODE, ESP32_RELAY_BOARD, ESP32_PWM_LAMP)
