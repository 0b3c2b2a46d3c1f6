"""With an empty database each page says what it is for and names the next act."""

import pytest

SAYS = {
    "/": ("No station yet", "/units/"),
    "/experiments/": ("No experiment yet", "/experiments/new/"),
    "/batteries/": ("No battery yet", "/batteries/new/"),
    "/profiles/": ("No profile yet", "/profiles/new/"),
    "/stations/": ("No station yet", "/stations/new/"),
    "/stations/new/": ("No unit is approved yet", "/units/"),
    "/units/": ("No unit yet", "unit.yaml"),
    "/alarms/": ("No alarm yet", "Monitor"),
    "/experiments/new/": ("No battery yet", "/batteries/new/"),
    "/account/": ("No tokens yet", "/api/docs/"),
}


@pytest.mark.parametrize(("address", "said"), SAYS.items())
def test_an_empty_page_tells_the_next_act(address, said, administrator, client):
    client.force_login(administrator)
    page = client.get(address).content.decode()
    title, leads_to = said
    assert title in page
    assert leads_to in page


def test_a_filter_without_a_hit_says_so_and_leads_back(administrator, client):
    client.force_login(administrator)
    page = client.get("/batteries/?q=nothing").content.decode()
    assert "Nothing fits" in page
    assert "No battery yet" not in page


def test_the_system_page_says_that_no_manager_runs(administrator, client):
    client.force_login(administrator)
    assert "no manager has ever run here" in client.get("/system/").content.decode()
