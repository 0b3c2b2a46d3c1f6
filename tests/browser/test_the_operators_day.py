"""A person with a barcode scanner, forty cells and no mouse: loading, one profile on many, what needs a hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import TIMEOUT_MS, log_in
from tests.stack.cellyard import Cellyard

PHONE = {"width": 390, "height": 844}
STEPS = [{"kind": "rest", "end": [{"quantity": "time_s", "value": 2}]}]


@pytest.fixture(scope="module")
def cells(lab: Cellyard) -> dict[str, Any]:
    """Return two stations with barcodes and two cells with theirs."""
    stations = {row["name"]: row["id"] for row in lab.api.get("stations/")["results"]}
    for name, key in stations.items():
        lab.api.patch(f"stations/{key}/", barcode=f"HOLDER-{name}")
    made = [lab.battery(f"Cell {n}", barcode=f"CELL-{n}") for n in (1, 2)]
    lab.profile(STEPS, "Short rest")
    return {"stations": stations, "cells": [battery["id"] for battery in made]}


@pytest.fixture
def empty(lab: Cellyard, cells: dict[str, Any]) -> Iterator[None]:
    """Leave both stations empty."""
    yield
    for key in cells["cells"]:
        if lab.api.get(f"batteries/{key}/")["station"]:
            lab.api.post(f"batteries/{key}/eject/")


def scan(page: Page, *codes: str) -> None:
    """Type as a scanner does: fast, and Enter after each code."""
    for code in codes:
        page.keyboard.type(code)
        page.keyboard.press("Enter")


def test_a_scanner_loads_pairs_in_either_order_without_a_mouse(
    page: Page, lab: Cellyard, cells: dict[str, Any], empty: None
) -> None:
    page.goto("/load/")
    scan(page, "HOLDER-S1", "CELL-1", "CELL-2", "HOLDER-S2")
    says = page.locator("#says")
    expect(says).to_have_text("Cell 2 is in S2.")
    assert {lab.api.get(f"batteries/{key}/")["station"] for key in cells["cells"]} == set(
        cells["stations"].values()
    )
    expect(page.locator("#volts")).to_contain_text(re.compile(r"\d\.\d{3} V"))
    expect(page.locator("#volts")).to_have_attribute("data-level", "success")
    expect(page.locator("#loaded [data-battery]")).to_have_count(2)
    expect(page.locator("#scan")).to_have_attribute("data-beeped", "success")


def test_an_error_is_said_in_words_with_another_sound_and_the_pair_goes_on(
    page: Page, cells: dict[str, Any], empty: None
) -> None:
    page.goto("/load/")
    scan(page, "HOLDER-S1", "NO-SUCH-CELL")
    says, card = page.locator("#says"), page.locator("#scan")
    expect(says).to_contain_text("Nothing here has the code “NO-SUCH-CELL”")
    expect(card).to_have_attribute("data-level", "error")
    expect(card).to_have_attribute("data-beeped", "error")
    scan(page, "CELL-1")
    expect(says).to_have_text("Cell 1 is in S1.")
    scan(page, "CELL-2", "HOLDER-S1")
    expect(says).to_contain_text("S1 holds Cell 1; eject it first.")


def test_codes_scanned_before_an_error_was_heard_make_no_wrong_pairs(
    page: Page, lab: Cellyard, cells: dict[str, Any], empty: None
) -> None:
    page.goto("/load/")
    # The first holder's label is damaged; cell 1 must not end up in the second holder.
    slow: list[Route] = []
    typed: list[bool] = []
    page.route("**/load/", lambda route: route.continue_() if typed else slow.append(route))
    scan(page, "HOLDER-S?", "CELL-1", "HOLDER-S2", "CELL-2")
    typed.append(True)
    slow[0].continue_()
    says = page.locator("#says")
    expect(says).to_contain_text("Nothing here has the code “HOLDER-S?”")
    expect(says).to_contain_text("What was scanned since (3) was not taken either.")
    assert [lab.api.get(f"batteries/{key}/")["station"] for key in cells["cells"]] == [None, None]
    scan(page, "HOLDER-S1", "CELL-1")
    expect(says).to_have_text("Cell 1 is in S1.")


def test_the_keyboard_undoes_the_last_pair_and_forgets_half_a_pair(
    page: Page, lab: Cellyard, cells: dict[str, Any], empty: None
) -> None:
    page.goto("/load/")
    scan(page, "CELL-1", "HOLDER-S2")
    says = page.locator("#says")
    expect(says).to_have_text("Cell 1 is in S2.")
    page.keyboard.press("Control+z")
    expect(says).to_have_text("Cell 1 is out of S2 again.")
    assert lab.api.get(f"batteries/{cells['cells'][0]}/")["station"] is None
    scan(page, "CELL-1")
    expect(says).to_have_text("Cell Cell 1. Now the holder.")
    page.keyboard.press("Escape")
    expect(says).to_have_text("Ready.")
    scan(page, "HOLDER-S2")
    expect(says).to_have_text("Holder S2. Now the cell.")


def test_the_load_page_fits_a_phone_and_shows_what_was_loaded(
    browser: Browser, lab: Cellyard, cells: dict[str, Any], empty: None
) -> None:
    context = browser.new_context(base_url=lab.address, viewport=PHONE, has_touch=True)
    context.set_default_timeout(TIMEOUT_MS)
    phone = context.new_page()
    log_in(phone)
    phone.goto("/load/")
    scan(phone, "HOLDER-S1", "CELL-1")
    expect(phone.locator("#says")).to_have_text("Cell 1 is in S1.")
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.get_by_role("button", name="Undo: Cell 1 is not in S1").click()
    expect(phone.locator("#says")).to_have_text("Cell 1 is out of S1 again.")
    context.close()


def test_one_profile_starts_on_every_loaded_cell_after_each_was_answered(
    page: Page, lab: Cellyard, cells: dict[str, Any], empty: None
) -> None:
    for key, station in zip(cells["cells"], cells["stations"].values(), strict=True):
        lab.api.post(f"batteries/{key}/load/", station=station)
    page.goto("/experiments/batch/")
    page.get_by_label("Profile *").select_option(label="Short rest")
    page.get_by_label("Names").fill("{n}: {battery}")
    expect(page.locator("#start")).to_be_disabled()
    page.get_by_role("button", name="Check them").click()
    expect(page.get_by_role("heading", name="All 2 fit")).to_be_visible()
    assert not lab.api.get("experiments/", search="1: Cell")["results"]
    page.get_by_role("button", name="Start 2").click()
    expect(page.get_by_text("2 experiments filed.")).to_be_visible()
    runs = lab.api.get("experiments/", ordering="created_at")["results"]
    assert sorted(run["name"] for run in runs) == ["1: Cell 1", "2: Cell 2"]
    for run in runs:
        lab.experiment_is(run["id"], "finished")
    page.goto("/")
    need = page.locator("[data-need=finished]").filter(has_text="Cell 1 is still in")
    need.get_by_role("button", name="I have taken it out").click()
    page.get_by_role("button", name="It is out").click()
    expect(need).to_have_count(0)


def test_a_table_is_checked_line_by_line_before_anything_is_recorded(
    page: Page, lab: Cellyard, cells: dict[str, Any]
) -> None:
    page.goto("/batteries/bulk/")
    table = page.get_by_label("The table")
    table.fill("name,barcode,station\nTable 1,T-1,\nTable 2,CELL-1,nowhere")
    page.get_by_label("All else as").select_option(label="Cell 1")
    page.get_by_role("button", name="Check the lines").click()
    wrong = page.locator("[data-line='3']")
    expect(wrong).to_contain_text("not possible")
    expect(page.get_by_role("button", name=re.compile("Take all"))).to_have_count(0)
    table.fill("name,barcode\nTable 1,T-1\nTable 2,T-2")
    page.get_by_role("button", name="Check the lines").click()
    page.get_by_role("button", name="Take all 2").click()
    expect(page.get_by_text("2 recorded, 0 loaded.")).to_be_visible()
    assert lab.api.get("batteries/", search="Table")["count"] == 2
