"""What the tests of devices do by the API: commands with their outcome, devices by model, a small bench."""

from __future__ import annotations

from typing import Any

from tests.stack.cellyard import Cellyard
from tests.stack.waiting import until


def send(lab: Cellyard, where: str, kind: str, **args: Any) -> dict[str, Any]:
    """Send a command to ``where`` (``stations/{id}``, ``devices/{id}``, ``units/{id}``); wait for its outcome.

    Returns the closed command, whatever its outcome is (a refusal by the site looks the same); raises ``AssertionError`` when none comes.
    """
    body = {"kind": kind, "args": args}
    answer = lab.api.client.post(f"{where}/commands/", params={"wait": 10}, json=body)
    told = answer.json()
    command: dict[str, Any] = told.get("command") or told
    if answer.status_code == 400:
        # The site itself says no: nothing was sent.
        return {"outcome": "refused", "reason": told["detail"], "result": None}
    assert "id" in command, told
    if command["outcome"] is None:
        path = f"commands/{command['id']}/"
        command = until(lambda: _closed(lab, path), 30, f"{kind} has an outcome")
    return command


def _closed(lab: Cellyard, path: str) -> dict[str, Any] | None:
    command: dict[str, Any] = lab.api.get(path)
    return command if command["outcome"] else None


def done(lab: Cellyard, where: str, kind: str, **args: Any) -> dict[str, Any]:
    """Send a command that must succeed; return its result."""
    command = send(lab, where, kind, **args)
    assert command["outcome"] == "done", (command["reason"], lab.logs())
    result: dict[str, Any] = command["result"] or {}
    return result


def refused(lab: Cellyard, where: str, kind: str, **args: Any) -> str:
    """Send a command that must be refused; return the reason."""
    command = send(lab, where, kind, **args)
    assert command["outcome"] == "refused", command
    return str(command["reason"])


def lease(lab: Cellyard, where: str, **args: Any) -> str:
    """Take the manual lease; return its id."""
    command = send(lab, where, "device.lease", **args)
    assert command["outcome"] == "done", (command["reason"], lab.logs())
    return str(command["args"]["lease"])


def device(lab: Cellyard, model: str, **more: Any) -> dict[str, Any]:
    """Return the first device of a catalogue model."""
    found = [each for each in lab.api.all("devices/", **more) if each["model_key"] == model]
    assert found, f"no {model} among {[each['model_key'] for each in lab.api.all('devices/')]}"
    one: dict[str, Any] = found[0]
    return one


def compose(lab: Cellyard, name: str, roles: dict[str, str], **more: Any) -> dict[str, Any]:
    """Compose a station of the devices of these models with these roles; wait until its unit has taken it.

    ``measures`` and ``outputs`` name the model where the API wants the device.
    """
    ids = {model: device(lab, model)["id"] for model in roles}
    for part in ("measures", "outputs"):
        more[part] = [{**each, "device": ids[each["device"]]} for each in more.get(part, [])]
    body = {
        "name": name,
        "unit": lab.api.get("units/")["results"][0]["id"],
        "devices": [{"device": ids[model], "role": role} for model, role in roles.items()],
        **more,
    }
    made: dict[str, Any] = lab.api.post("stations/", **body)
    taken(lab, made["id"])
    return made


def taken(lab: Cellyard, station: str) -> dict[str, Any]:
    """Wait until the unit has the station's newest version and it is idle; return it."""

    def there() -> dict[str, Any] | None:
        seen: dict[str, Any] = lab.api.get(f"stations/{station}/")
        return seen if seen["state"] == "idle" and seen["unit_version"] == seen["version"] else None

    try:
        return until(there, 40, "the unit has taken the station")
    except AssertionError as error:
        raise AssertionError(f"{error}; {lab.api.get(f'stations/{station}/')}; {lab.logs()}") from None


def truth(lab: Cellyard, name: str) -> dict[str, Any]:
    """Return what a simulated device really does."""
    return lab.simulators.ask(device=name, query="truth")


def break_(lab: Cellyard, name: str, fault: str, **options: Any) -> None:
    """Break a simulated device."""
    answer = lab.simulators.ask(device=name, fault=fault, **options)
    assert answer["ok"], answer


def mend(lab: Cellyard, name: str) -> None:
    """Repair a simulated device."""
    assert lab.simulators.ask(device=name, clear=True)["ok"]


def alarms(lab: Cellyard, **query: Any) -> list[dict[str, Any]]:
    """Return all alarms that fit."""
    return lab.api.all("alarms/", **query)


def acknowledged(lab: Cellyard) -> None:
    """Acknowledge everything that is raised, until all stations are idle."""

    def calm() -> bool:
        for alarm in alarms(lab, state="raised"):
            lab.api.client.post(f"alarms/{alarm['id']}/acknowledge/")
        return all(station["state"] == "idle" for station in lab.api.all("stations/"))

    until(calm, 40, "all alarms are acknowledged and all stations idle", every_s=0.3)
