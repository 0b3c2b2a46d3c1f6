"""docs/devices.md is what the catalogue says, for every model and every power device."""

from __future__ import annotations

from pathlib import Path

from wire import kinds
from wire.kinds import table

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"


def test_the_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == table.page(), (
        "run: python -m wire.kinds.table > docs/devices.md"
    )


def test_every_power_device_says_what_off_means_and_what_it_does_left_alone() -> None:
    off, left_alone = table.page().split("## All models")[0].split("## Left alone")
    for kind in kinds.KINDS:
        assert f"### {kind.label}\n" in table.page()
        if kind.role == "power":
            assert kind.off is not None
            (row,) = [line for line in off.splitlines() if line.startswith(f"| {kind.label} |")]
            assert f"`{kind.off.command}`" in row
            assert kind.off.stays_connected in row
            (row,) = [line for line in left_alone.splitlines() if line.startswith(f"| {kind.label} |")]
            assert row.endswith(
                f"| {'yes' if kind.off.guards_charge else '**no**'} "
                f"| {'yes' if kind.off.guards_discharge else '**no**'} |"
            )


def test_a_load_without_a_low_cut_off_is_said_to_have_none() -> None:
    assert "left alone it goes on discharging | yes | **no** |" in table.page()
