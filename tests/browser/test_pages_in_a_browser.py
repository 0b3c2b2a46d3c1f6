"""What only a browser shows: the editor's keys, drafts, phones, lost connections, the scripts' numbers, the bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import TIMEOUT_MS, log_in
from tests.stack.cellyard import Cellyard
from tests.web_server.test_pages_numbers import DURATIONS, SET, WRITTEN

# ui.md: script and style of a page, compressed; the experiment's may have more for its chart.
BUDGET_BYTES, BUDGET_EXPERIMENT_BYTES = 200_000, 300_000
PHONE = {"width": 390, "height": 844}
STEPS = [
    {"kind": "rest", "label": "first", "end": [{"quantity": "time_s", "value": 1}]},
    {
        "kind": "group",
        "count": 2,
        "steps": [{"kind": "rest", "label": "inside", "end": [{"quantity": "time_s", "value": 2}]}],
    },
    {"kind": "rest", "label": "last", "end": [{"quantity": "time_s", "value": 3}]},
]


@pytest.fixture(scope="module")
def things(lab: Cellyard) -> dict[str, str]:
    """Return the addresses of one of everything, an experiment that ran among them."""
    station = lab.api.get("stations/", search="S1")["results"][0]["id"]
    battery = lab.battery("Cell", station)["id"]
    profile = lab.profile(STEPS, "Three")["id"]
    experiment = lab.file(battery, profile, station, "Short run")["id"]
    lab.experiment_is(experiment, "finished")
    unit = lab.api.get("units/")["results"][0]["id"]
    return {
        "experiment": f"/experiments/{experiment}/",
        "battery": f"/batteries/{battery}/",
        "profile": f"/profiles/{profile}/",
        "station": f"/stations/{station}/",
        "unit": f"/units/{unit}/",
        "control": f"/stations/{station}/control/",
        "device": f"/devices/{lab.api.get('devices/')['results'][0]['id']}/",
        "console": f"/units/{unit}/console/",
    }


def _addresses(things: dict[str, str]) -> list[str]:
    lists = [
        "/",
        "/experiments/",
        "/batteries/",
        "/profiles/",
        "/stations/",
        "/units/",
        "/alarms/",
        "/system/",
        "/account/",
    ]
    edits = [
        "/experiments/new/?profile=new",
        "/batteries/new/",
        things["battery"] + "edit/",
        things["profile"] + "edit/",
        things["station"] + "edit/",
        "/zones/new/",
        "/catalogue/",
        "/catalogue/add/",
    ]
    return [*lists, *things.values(), *edits]


def _definition(page: Page) -> dict[str, Any]:
    return dict(json.loads(page.locator("textarea[name=definition]").input_value()))


def _labels(page: Page) -> list[str]:
    return page.locator(".cy-step .open b").all_text_contents()


def test_steps_are_moved_indented_duplicated_and_deleted_by_keyboard(page: Page, things):
    page.goto(things["profile"] + "edit/")
    assert _labels(page) == ["first", "Group, repeated", "inside", "last"]
    opener = page.locator(".cy-step[data-number='4'] > .row-line .open")
    opener.focus()
    page.keyboard.press("Alt+ArrowRight")
    assert [step.get("label") for step in _definition(page)["steps"][1]["steps"]] == ["inside", "last"]
    page.keyboard.press("Alt+ArrowUp")
    assert [step.get("label") for step in _definition(page)["steps"][1]["steps"]] == ["last", "inside"]
    page.keyboard.press("Alt+ArrowLeft")
    assert [step.get("label") for step in _definition(page)["steps"]] == ["first", None, "last"]
    page.keyboard.press("Alt+d")
    assert [step.get("label") for step in _definition(page)["steps"]] == ["first", None, "last", "last copy"]
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    assert [step.get("label") for step in _definition(page)["steps"]] == ["first", None]
    page.locator("[data-part=undone] button").click()
    page.keyboard.press("Control+z")
    assert [step.get("label") for step in _definition(page)["steps"]] == ["first", None, "last", "last copy"]


def test_an_error_stands_at_its_step_while_typing(page: Page, things):
    page.goto(things["profile"] + "edit/")
    page.locator(".cy-step[data-number='4'] > .row-line .open").click()
    step = page.locator(".cy-step[data-number='4']")
    step.get_by_role("button", name="Remove this end").click()
    expect(step.locator(".said")).to_be_visible()
    expect(page.locator("[data-part=verdict]")).to_have_attribute("data-valid", "false")
    page.get_by_role("button", name="Undo").first.click()
    expect(page.locator("[data-part=verdict]")).to_have_attribute("data-valid", "true")


def test_text_and_steps_are_two_views_of_one_profile(page: Page, things):
    page.goto("/profiles/new/")
    page.get_by_role("tab", name="Text").click()
    text = page.locator("#editor-text")
    text.fill("WAIT, 60\nJUMP, 1")
    expect(page.locator("[data-part=text-why]")).to_contain_text("Line 2")
    text.fill("WAIT, 60\nCC, 0.5, VOLTAGE, 4.1")
    expect(page.locator("[data-part=verdict]")).to_have_attribute("data-valid", "true")
    page.get_by_role("tab", name="Steps").click()
    assert [step["kind"] for step in _definition(page)["steps"]] == ["rest", "cc"]


def test_a_profile_file_is_uploaded(page: Page, things):
    page.goto("/profiles/new/")
    body = json.dumps({"name": "From a file", "steps": STEPS}).encode()
    page.locator("[data-part=upload]").set_input_files(
        {"name": "p.json", "mimeType": "application/json", "buffer": body}
    )
    expect(page.locator(".cy-step")).to_have_count(4)
    expect(page.get_by_label("Name *")).to_have_value("From a file")


def test_what_was_typed_survives_leaving_the_page(page: Page, things):
    page.goto("/batteries/new/")
    page.get_by_label("Name").fill("Half typed")
    page.wait_for_function("() => localStorage.getItem('cellyard.draft.battery-new')?.includes('Half typed')")
    page.goto("/")
    page.goto("/batteries/new/")
    expect(page.get_by_label("Name")).to_have_value("Half typed")
    page.get_by_role("button", name="Start afresh").click()
    expect(page.get_by_label("Name")).to_have_value("")


def test_lists_are_walked_by_keyboard(page: Page, things):
    page.goto("/experiments/")
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()
    page.keyboard.type("Short")
    expect(page.locator("#rows tbody tr")).to_have_count(1)
    page.wait_for_url("**q=Short**")
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator(".bulk")).to_contain_text("1 selected")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{things['experiment']}**")


def test_the_chart_zooms_and_keeps_it_in_the_address(page: Page, things):
    page.goto(things["experiment"])
    expect(page.locator("#chart canvas")).to_be_visible()
    page.locator("#chart").focus()
    page.keyboard.press("+")
    page.wait_for_url("**from=**")
    page.reload()
    expect(page.locator("#chart canvas")).to_be_visible()
    page.locator("#chart").focus()
    page.keyboard.press("0")
    page.wait_for_function("() => !location.search.includes('from=')")
    page.locator("label.chip", has_text="Power").click()
    page.wait_for_url("**series=voltage_v%2Ccurrent_a%2Cpower_w")


def test_the_first_tab_stop_skips_to_the_page(page: Page, things):
    page.goto("/batteries/")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_every_page_fits_a_phone(browser: Browser, lab: Cellyard, things):
    context = browser.new_context(base_url=lab.address, viewport=PHONE)
    page = context.new_page()
    log_in(page)
    for address in _addresses(things):
        page.goto(address)
        page.wait_for_load_state("load")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{address} is {wide} px too wide"
    context.close()


def test_pages_can_be_read_without_scripts(browser: Browser, lab: Cellyard, things):
    context = browser.new_context(base_url=lab.address, java_script_enabled=False)
    page = context.new_page()
    log_in(page)
    for address in _addresses(things):
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(things["experiment"])
    expect(page.locator("#run [data-count]").first).to_be_visible()
    context.close()


def _bytes_of_script_and_style(browser: Browser, lab: Cellyard, address: str) -> int:
    """Return what a page's scripts and styles take on the wire, with an empty cache."""
    context = browser.new_context(base_url=lab.address)
    page = context.new_page()
    log_in(page)
    page.goto("about:blank")
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    wire.send("Network.setCacheDisabled", {"cacheDisabled": True})
    counted: set[str] = set()
    sizes: list[float] = []
    wire.on(
        "Network.responseReceived",
        lambda r: counted.add(r["requestId"]) if r["type"] in ("Script", "Stylesheet") else None,
    )
    wire.on(
        "Network.loadingFinished",
        lambda f: sizes.append(f["encodedDataLength"]) if f["requestId"] in counted else None,
    )
    page.goto(address)
    expect(page.locator("#glance")).to_be_visible()
    context.close()
    return int(sum(sizes))


def test_script_and_style_stay_inside_the_budget(browser: Browser, lab: Cellyard, things):
    for address in ("/", "/profiles/new/", "/experiments/new/?profile=new", things["experiment"]):
        size = _bytes_of_script_and_style(browser, lab, address)
        limit = BUDGET_EXPERIMENT_BYTES if address == things["experiment"] else BUDGET_BYTES
        assert 50_000 < size < limit, (address, size)


def test_a_lost_connection_shows_within_five_seconds_and_heals_by_itself(
    browser: Browser, lab: Cellyard, things
):
    context = browser.new_context(base_url=lab.address)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    log_in(page)
    expect(page.locator("[data-live=voltage_v]").first).to_contain_text("V")
    lab.web.stop()
    try:
        expect(page.locator("#lost")).to_be_visible(timeout=5000)
    finally:
        lab.web.start()
        lab.wait_for_site()
    expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    context.close()


def test_a_hidden_page_holds_no_stream(page: Page, things):
    page.add_init_script(
        "window.streams = 0; const Real = window.EventSource;"
        "window.EventSource = class extends Real { constructor(...a) { super(...a); window.streams += 1; }"
        " close() { super.close(); window.streams -= 1; } };"
    )
    page.goto("/")
    page.wait_for_function("() => window.streams === 1")
    hide = "hidden => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    page.wait_for_function("() => window.streams === 0")
    page.evaluate(hide, False)
    page.wait_for_function("() => window.streams === 1")


def test_the_scripts_write_numbers_as_the_server_does(page: Page, things):
    page.goto("/account/")
    ask = "async ([name, rows]) => { const m = await import('/static/cellyard/numbers.js'); return rows.map((row) => m[name](...row)); }"
    rows = [(value, unit) for value, unit, _ in WRITTEN if value == value]
    assert page.evaluate(ask, ["quantity", rows]) == [text for value, _, text in WRITTEN if value == value]
    assert page.evaluate(ask, ["setting", [row[:2] for row in SET]]) == [row[2] for row in SET]
    assert page.evaluate(ask, ["duration", [[row[0]] for row in DURATIONS]]) == [row[1] for row in DURATIONS]


def test_a_destructive_act_asks_once_naming_the_thing(page: Page, things):
    page.goto(things["profile"])
    page.get_by_label("More").click()
    page.get_by_role("button", name="Retire").click()
    expect(page.locator("#ask-text")).to_contain_text("Three")
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#ask")).to_be_hidden()
    expect(page.get_by_role("link", name="Edit")).to_be_visible()
