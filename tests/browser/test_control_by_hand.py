"""Control by hand, console and detection in a real browser before a whole Cellyard with a relay board."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import TIMEOUT_MS, Watched, log_in
from tests.stack.cellyard import Cellyard
from tests.stack.simulated import Simulators, supply
from tests.stack.waiting import free_port, until

RELAYS = "esp32-relay-board"
HELD = re.compile("You have control")


class Bench(Simulators):
    """Two supplies, a relay board and a cell monitor on a CAN bus."""

    def links(self) -> list[dict[str, Any]]:
        """Return the links of all of them."""
        return [*super().links(), *self.links_of("relays"), *self.links_of("cells")]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """Return a running Cellyard with two stations, a free relay board and a CAN bus."""
    folder = tmp_path_factory.mktemp("by-hand")
    running = Cellyard(folder)
    board = {"name": "relays", "model": RELAYS, "port": free_port()}
    cells = {"name": "cells", "model": "bms-plak", "unit": 1, "port": free_port()}
    running.simulators = Bench(folder / "bench", [supply("psb1"), supply("psb2")], devices=[board, cells])
    with running:
        running.station("S1", 0)
        running.station("S2", 1)
        running.wait_for_unit(devices=4)
        yield running


@pytest.fixture
def page(browser: Browser, lab: Cellyard) -> Iterator[Page]:
    """Return a page of the administrator; a lease that is lost or cut on purpose may be told in the console."""
    context = browser.new_context(base_url=lab.address, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    watched = Watched(page)
    log_in(page)
    yield page
    context.close()
    assert [said for said in watched.errors if "Failed to load resource" not in said] == []
    assert watched.outside == []


def _station(lab: Cellyard, name: str) -> str:
    return str(lab.api.get("stations/", search=name)["results"][0]["id"])


def _relays(lab: Cellyard) -> str:
    return str(next(one["id"] for one in lab.api.get("devices/")["results"] if one["model_key"] == RELAYS))


def _current_a(lab: Cellyard, name: str) -> float:
    """Return the current that the simulated cell itself sees."""
    return float(lab.simulators.ask(device=name, query="truth")["current_a"])


def _take(page: Page, **typed: str) -> None:
    for label, text in typed.items():
        page.get_by_label(label.replace("_", " ")).fill(text)
    page.get_by_role("button", name="Take control").click()
    expect(page.get_by_text(HELD)).to_be_visible()


def _take_station(page: Page, lab: Cellyard, name: str) -> str:
    station = _station(lab, name)
    page.goto(f"/stations/{station}/control/")
    _take(
        page,
        Voltage_at_least="2.8",
        Voltage_at_most="4.2",
        Largest_discharge="-1",
        Largest_charge="1",
        For_how_long="10",
    )
    return station


def test_a_supply_is_set_by_hand_and_down_switches_it_off(page: Page, lab: Cellyard):
    station = _take_station(page, lab, "S1")
    lab.station_is(station, "manual")
    page.get_by_role("textbox", name="Current").fill("0.3")
    page.get_by_role("button", name="Switch on with these").click()
    expect(page.get_by_text("Set, and read back.")).to_be_visible()
    until(lambda: abs(_current_a(lab, "psb1") - 0.3) < 0.02, 10, "the cell is charged with 0.3 A")
    page.get_by_role("button", name="Down: everything off").click()
    expect(page.locator("#down-said")).to_contain_text(
        re.compile(r"Measured off, confirmed by the unit: .*A at .*V")
    )
    until(lambda: abs(_current_a(lab, "psb1")) < 0.01, 10, "no current flows")
    expect(page.get_by_text(HELD)).to_be_hidden()
    lab.station_is(station, "idle")


def test_escape_is_down_while_one_holds_control(page: Page, lab: Cellyard):
    station = _take_station(page, lab, "S1")
    page.get_by_role("textbox", name="Current").fill("-0.2")
    page.keyboard.press("Enter")
    until(lambda: _current_a(lab, "psb1") < -0.15, 10, "the cell is discharged")
    page.keyboard.press("Escape")
    expect(page.get_by_text("Off, confirmed by the unit")).to_be_visible()
    until(lambda: abs(_current_a(lab, "psb1")) < 0.01, 10, "no current flows")
    lab.station_is(station, "idle")


def test_what_the_limits_forbid_is_refused_in_words(page: Page, lab: Cellyard):
    _take_station(page, lab, "S1")
    page.get_by_role("textbox", name="Current").fill("3")
    page.get_by_role("button", name="Switch on with these").click()
    said = page.locator("[data-set-said]").first
    expect(said).to_contain_text(re.compile("current", re.I))
    assert abs(_current_a(lab, "psb1")) < 0.01
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_text("You have given it back")).to_be_visible()
    lab.station_is(_station(lab, "S1"), "idle")


def test_a_lost_lease_is_shown_and_the_output_falls_back_to_off(page: Page, lab: Cellyard):
    station = _take_station(page, lab, "S2")
    page.get_by_role("textbox", name="Current").fill("0.2")
    page.get_by_role("button", name="Switch on with these").click()
    until(lambda: _current_a(lab, "psb2") > 0.15, 10, "the cell is charged")

    def cut(route: Route) -> None:
        route.abort() if "device.lease" in (route.request.post_data or "") else route.continue_()

    page.route("**/commands/*", cut)
    expect(page.get_by_text("You have lost control")).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.get_by_role("button", name="Switch on with these")).to_be_disabled()
    until(lambda: abs(_current_a(lab, "psb2")) < 0.01, 15, "it fell back to off by itself")
    lab.station_is(station, "idle")


def test_the_second_person_sees_who_holds_it(page: Page, browser: Browser, lab: Cellyard):
    station = _take_station(page, lab, "S1")
    context = browser.new_context(base_url=lab.address, viewport={"width": 390, "height": 844})
    context.set_default_timeout(TIMEOUT_MS)
    other = context.new_page()
    log_in(other)
    other.goto(f"/stations/{station}/control/")
    expect(other.get_by_text("admin has control")).to_be_visible()
    assert other.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    # Down needs no lease: whoever stands there may switch off.
    other.get_by_role("button", name="Down: everything off").click()
    expect(other.get_by_text("Off, confirmed by the unit")).to_be_visible()
    context.close()
    expect(page.get_by_text("You have lost control")).to_be_visible(timeout=TIMEOUT_MS)
    lab.station_is(station, "idle")


def test_a_relay_is_switched_and_falls_back_when_it_is_given_back(page: Page, lab: Cellyard):
    page.goto(f"/devices/{_relays(lab)}/")
    _take(page, For_how_long="5")
    relay = page.get_by_role("group", name="Relay 0")
    relay.get_by_role("button", name="On").click()
    expect(relay.get_by_role("button", name="On")).to_have_attribute("aria-pressed", "true")
    reading = page.locator("[data-read$=':relay_0']")
    expect(reading).to_have_text("on")
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_text("You have given it back")).to_be_visible()
    expect(reading).to_have_text("off")


def test_the_history_of_a_reading_is_drawn_from_the_database(page: Page, lab: Cellyard):
    device = _relays(lab)
    until(
        lambda: lab.api.get(f"devices/{device}/readings/")["columns"]["time_us"], 30, "something was recorded"
    )
    page.goto(f"/devices/{device}/")
    expect(page.locator("#history canvas")).to_be_visible()
    page.get_by_role("button", name="6 h").click()
    expect(page.get_by_role("button", name="6 h")).to_have_class(re.compile("active"))


def _unit(lab: Cellyard) -> str:
    return str(lab.api.get("units/")["results"][0]["id"])


def test_a_question_on_the_console_brings_the_answer_and_a_refusal_its_reason(page: Page, lab: Cellyard):
    page.goto(f"/units/{_unit(lab)}/console/")
    page.get_by_label("Link").fill("psb1")
    message = page.get_by_label("Message")
    message.fill("*IDN?")
    message.press("Enter")
    log = page.locator("[data-log]")
    expect(log.locator("li").first).to_contain_text("PSB 10010-05")
    message.press("ArrowUp")
    expect(message).to_have_value("*IDN?")
    page.get_by_label("Link").fill("nowhere")
    message.press("Enter")
    expect(log.locator("li").first).to_contain_text("no link 'nowhere'")
    page.reload()
    expect(log).to_contain_text("*IDN?")
    expect(log).to_contain_text("admin")


def test_a_can_bus_is_listened_to_live_and_filtered(page: Page, lab: Cellyard):
    page.goto(f"/units/{_unit(lab)}/console/")
    page.get_by_role("button", name="Listen", exact=True).click()
    rows = page.locator("[data-frames] tr")
    # A monitor says all of its fragments every few seconds; three rounds and the looks between them.
    expect(rows.nth(14)).to_be_visible(timeout=3 * TIMEOUT_MS)
    expect(rows.first).to_contain_text(re.compile(r"0x101.*BMS_FRAGMENT: FragIndex"))
    page.get_by_role("button", name="Stop listening").click()
    page.get_by_role("button", name="Clear").click()
    live = page.locator("[data-listen]")
    live.get_by_label("Id, hex").fill("xyz")
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(live.locator(".wrong")).to_contain_text("Write the id in hex")
    live.get_by_label("Id, hex").fill("200")
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(live.locator(".wrong")).to_have_count(0)
    expect(page.get_by_role("button", name="Stop listening")).to_be_visible()
    page.get_by_role("button", name="Stop listening").click()
    expect(rows).to_have_count(0)
    assert "can-listen" not in lab.unit.output()


def test_the_units_log_comes_when_it_is_asked_for(page: Page, lab: Cellyard):
    page.goto(f"/units/{_unit(lab)}/")
    page.get_by_role("link", name="Log", exact=True).click()
    page.get_by_role("button", name="Ask for it now").click()
    expect(page.locator(".log-lines")).to_contain_text("event=registered")


def test_detection_tells_its_result_on_the_units_page(page: Page, lab: Cellyard):
    page.goto(f"/units/{_unit(lab)}/")
    page.get_by_role("button", name="Look for devices").click()
    expect(page.locator("#devices")).to_contain_text(
        re.compile(r"Last detection .*found"), timeout=2 * TIMEOUT_MS
    )
    expect(page.locator("#devices [data-row]")).to_have_count(4)
