"""A newcomer's first test, by the pages alone: battery, profile, experiment, live, pause, stop, CSV, alarm."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.stack.cellyard import Cellyard

RUNS_S = 60_000


def add_battery(page: Page, name: str) -> None:
    """Record a cell like the simulated one."""
    page.goto("/batteries/new/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Capacity").first.fill("0.05")
    page.get_by_label("Cell at least").fill("2.5")
    page.get_by_label("Cell at most").fill("4.2")
    page.get_by_label("Never below").fill("2.3")
    page.get_by_label("Never above").fill("4.3")
    page.get_by_label("Largest discharge").fill("-1")
    page.get_by_label("Largest charge").fill("1")
    page.get_by_role("button", name="Add the battery").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def write_profile(page: Page, name: str) -> None:
    """Write a rest, a charge and a rest in the step editor."""
    page.goto("/profiles/new/")
    page.get_by_label("Name *").fill(name)
    verdict = page.locator("[data-part=verdict]")
    page.locator("[data-part=add] [data-add=rest]").click()
    page.locator(".cy-step[data-number='1'] [data-path=value]").fill("3")
    page.locator("[data-part=add] [data-add=cc]").click()
    step = page.locator(".cy-step[data-number='2']")
    step.locator("[data-path=current_a]").fill("0.1")
    step.locator("[data-path=value]").fill("4.15")
    step.get_by_role("button", name="Add an end").click()
    step.locator("[data-path=value]").nth(1).fill("120")
    page.locator("[data-part=add] [data-add=rest]").click()
    page.locator(".cy-step[data-number='3'] [data-path=value]").fill("2")
    expect(verdict).to_have_attribute("data-valid", "true")
    page.get_by_role("button", name="Save the profile").click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def file_experiment(page: Page, battery: str, station: str, profile: str) -> None:
    """Choose the three, say that the battery is in, file."""
    page.goto("/experiments/new/")
    page.locator("#battery-choices .choice", has_text=battery).click()
    page.locator("#station-choices .choice", has_text=station).click()
    page.get_by_label("I have put the battery in").check()
    page.locator("#profile-choices .choice", has_text=profile).click()
    expect(page.get_by_label("I have put the battery in")).to_be_checked()
    page.get_by_role("button", name="File the experiment").click()
    expect(page.locator("#why")).to_be_visible()


def status(page: Page, word: str) -> None:
    """Wait until the experiment's first line shows this status."""
    expect(page.locator("#why .state")).to_have_text(word, timeout=RUNS_S)


def test_a_first_test_by_the_pages(page: Page, lab: Cellyard, tmp_path: Path):
    add_battery(page, "Page cell")
    write_profile(page, "Page profile")
    file_experiment(page, "Page cell", "S1", "Page profile")

    status(page, "running")
    expect(page.locator("#steps tr.current")).to_have_count(1)
    expect(page.locator("#steps tr.current")).to_contain_text("Constant current", timeout=RUNS_S)
    chart = page.locator("#chart .uplot canvas")
    expect(chart).to_be_visible()
    shown = page.locator("#now [data-live=charge_in_ah]")
    expect(shown).to_contain_text("Ah")
    before = chart.evaluate("canvas => canvas.toDataURL()")
    page.wait_for_function(
        "before => document.querySelector('#chart canvas').toDataURL() !== before", arg=before
    )

    page.get_by_role("button", name="Pause").click()
    status(page, "paused")
    page.get_by_role("button", name="Resume").click()
    status(page, "running")
    page.get_by_role("button", name="Skip step").click()
    status(page, "finished")
    expect(page.locator("#run [data-count]")).to_have_count(3)
    expect(page.locator("#run [data-count='2']")).to_contain_text("skipped by")
    expect(page.locator("#about")).to_contain_text(re.compile(r"Ended\s*now"))
    expect(page.locator("#glance")).to_contain_text("nothing is running")
    expect(page.locator("#events")).to_contain_text("paused")

    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV", exact=True).click()
    file = tmp_path / "run.csv"
    downloading.value.save_as(file)
    rows = list(csv.reader(line for line in file.read_text().splitlines() if not line.startswith("#")))
    assert any("voltage" in column for column in rows[0])
    assert len(rows) > 5


def test_stop_is_one_click_on_the_monitor(page: Page, lab: Cellyard):
    station = lab.api.get("stations/", search="S2")["results"][0]["id"]
    battery = lab.battery("Stop cell", station)
    profile = lab.profile([{"kind": "rest", "end": [{"quantity": "time_s", "value": 300}]}], "Long rest")
    page.goto("/")
    tile = page.locator(f"#tile-{station}")
    lab.file(battery["id"], profile["id"], station, "To be stopped")
    expect(tile.locator("header .state")).to_have_text("running", timeout=RUNS_S)
    expect(tile.locator("[data-live=voltage_v]")).to_contain_text("V")
    tile.get_by_role("button", name="Stop").click()
    expect(tile.locator("header .state")).to_have_text("idle", timeout=RUNS_S)
    expect(page.locator("#glance")).to_contain_text("nothing is running")
    lab.api.post(f"batteries/{battery['id']}/eject/")


def test_an_alarm_that_a_drifting_reading_caused_is_acknowledged(page: Page, lab: Cellyard):
    station = lab.api.get("stations/", search="S2")["results"][0]["id"]
    battery = lab.battery("Alarm cell", station)
    profile = lab.profile(
        [{"kind": "rest", "end": [{"quantity": "time_s", "value": 300}]}], "Rest for the alarm"
    )
    experiment = lab.file(battery["id"], profile["id"], station, "Will trip")["id"]
    lab.experiment_is(experiment, "running")
    page.goto("/")
    supply = lab.simulators.supplies[1]["name"]
    lab.simulators.ask(device=supply, fault="drift", rate_v_s=2.0, offset_v=0)
    trouble = page.locator("#trouble .note-error", has_text="S2")
    expect(trouble).to_be_visible(timeout=RUNS_S)
    expect(page.locator(f"#tile-{station} header .state")).to_have_text("tripped", timeout=RUNS_S)
    lab.simulators.ask(device=supply, clear=True)
    page.goto(f"/experiments/{experiment}/")
    expect(page.locator("#why .state")).to_have_text("error")
    expect(page.locator("#why")).to_contain_text(re.compile("voltage", re.I))
    page.goto("/alarms/?state=raised")
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.get_by_text("Asked S2 to release the latch.")).to_be_visible()
    page.goto("/")
    expect(page.locator("#trouble .note-error")).to_have_count(0, timeout=RUNS_S)
    expect(page.locator(f"#tile-{station} header .state")).to_have_text("idle", timeout=RUNS_S)
