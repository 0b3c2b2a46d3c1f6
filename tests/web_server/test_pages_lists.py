"""Lists: filters and sorting in the address, pages by cursor, and what they say."""

import re

import pytest

from tests.web_server import factories, pages_lab
from web_server.cells.models import Battery
from web_server.lab.models import Unit
from web_server.lib import cursor


@pytest.fixture
def lab(administrator, client):
    client.force_login(administrator)
    return pages_lab.fill(administrator)


def _names(client, address: str) -> list[str]:
    page = client.get(address).content.decode()
    return re.findall(r'<td class="name"><a href="[^"]*">([^<]+)</a>', page)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sort=name", ["E0", "E1", "E2"]),
        ("sort=-name", ["E2", "E1", "E0"]),
        ("status=running", ["E1"]),
        ("status=queued&status=error&sort=name", ["E0", "E2"]),
        ("status=not+ended&sort=name", ["E1", "E2"]),
        ("status=ended", ["E0"]),
        ("q=B1", ["E1"]),
        ("technology=lead_acid", []),
        ("sort=nonsense&status=nonsense&battery=nonsense", ["E2", "E0", "E1"]),
    ],
)
def test_the_address_holds_filter_and_order(query, names, lab, client):
    assert sorted(_names(client, f"/experiments/?{query}")) == sorted(names)
    if "sort=name" in query or "sort=-name" in query:
        assert _names(client, f"/experiments/?{query}") == names


def test_the_filter_shows_what_it_filters_by(lab, client):
    page = client.get("/experiments/?status=not+ended").content.decode()
    assert re.findall(r"<option selected>([^<]+)</option>", page) == ["not ended"]


@pytest.mark.parametrize("column", ["battery", "station", "profile"])
def test_experiments_are_found_by_what_they_used(column, lab, client):
    wanted = getattr(lab, column)
    assert "E1" in _names(client, f"/experiments/?{column}={wanted.uuid}")


def test_every_row_is_on_exactly_one_page(administrator, client):
    client.force_login(administrator)
    for i in range(cursor.PAGE_ROWS * 2 + 7):
        factories.make_battery(f"B{i:03}", manufacturer="even" if i % 2 else "")
    for sort in ("name", "-name", "manufacturer", "-loaded_at", "loaded_at"):
        seen, address = [], f"/batteries/?sort={sort}"
        while address:
            page = client.get(address).content.decode()
            seen += re.findall(r'<td class="name"><a href="[^"]*">([^<]+)</a>', page)
            further = re.search(r'href="(\?[^"]*after=[^"]*)" hx-get', page)
            address = "/batteries/" + further[1].replace("&amp;", "&") if further else ""
        assert len(seen) == Battery.objects.count(), sort
        assert len(set(seen)) == len(seen), sort


@pytest.mark.parametrize("after", ["x", "W10=", "bnVsbA==", "WyJhIiwgImIiXQ==", "WzEsIDJd"])
def test_a_cursor_that_is_none_shows_the_first_page(after, lab, client):
    assert client.get(f"/batteries/?after={after}").status_code == 200
    assert client.get(f"/experiments/?sort=created_at&after={after}").status_code == 200


def test_the_first_line_of_an_ended_experiment_says_why(lab, client):
    page = client.get(f"/experiments/{lab.ended.uuid}/").content.decode()
    line = re.search(r'id="why">(.*?)</p>', page, re.S)
    assert "voltage above its limit" in line[1]
    assert "voltage 4.2412 V, limit 4.23 V, for 0.3 s" in line[1]


def test_the_monitor_puts_trouble_first_with_its_button(lab, client):
    page = client.get("/").content.decode()
    trouble, _, tiles = page.partition('class="tiles"')
    assert "S2: Voltage above its limit" in trouble
    assert f"/alarms/{lab.alarm.uuid}/acknowledge/" in trouble
    assert f"/units/{lab.pending.uuid}/approve/" in trouble
    assert "S1" in tiles
    assert 'value="3.7" data-unit="V">3.7000 V' in tiles


def test_the_running_step_is_marked(lab, client):
    page = client.get(f"/experiments/{lab.experiment.uuid}/").content.decode()
    assert re.search(r'data-step="1"\s+class="current" aria-current="step"', page)


@pytest.mark.parametrize(("skew_s", "flagged"), [(1.9, False), (2.1, True), (-90.0, True), (None, False)])
def test_a_units_clock_is_flagged_when_it_is_more_than_2_s_off(skew_s, flagged, lab, client):
    Unit.objects.filter(pk=lab.unit.pk).update(clock_skew_s=skew_s)
    page = client.get(f"/units/{lab.unit.uuid}/").content.decode()
    clock = page[page.index("<dt>Clock</dt>") : page.index("<dt>Served by</dt>")]
    assert ("state-unwell" in clock) is flagged


def test_a_missing_value_is_a_dash_with_its_reason(lab, client):
    page = client.get("/").content.decode()
    assert 'class="missing" title="no sensor is bound">–' in page


def test_the_list_is_exported_as_shown_and_runs_no_formula(lab, client, administrator):
    factories.make_experiment(lab.free, lab.profile, lab.tripped, name="=1+1", by=administrator)
    answer = client.get("/experiments/?format=csv&status=queued&sort=name")
    text = b"".join(answer.streaming_content).decode()
    assert [line.split(",")[1] for line in text.splitlines()] == ["name", "'=1+1", "E2"]


def test_chosen_columns_are_kept_with_the_person(lab, administrator, client):
    body = {"table": "experiments", "hidden": "battery project"}
    answer = client.post("/account/columns/", body, content_type="application/json")
    assert answer.status_code == 204
    assert 'data-hidden="battery project"' in client.get("/experiments/").content.decode()


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"table": 1}'])
def test_a_choice_of_columns_that_is_none_is_refused(body, lab, client):
    assert client.post("/account/columns/", body, content_type="application/json").status_code == 400


def test_the_line_on_top_can_be_asked_for_alone(lab, client):
    part = client.get("/monitor/glance/").content.decode()
    assert "1 alarm needs a look" in part
    assert "1 running" in part
    assert "<html" not in part
