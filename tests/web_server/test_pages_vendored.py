"""The vendored front-end files are the ones their README lists, and stay inside the budget."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest

STATIC = Path(__file__).resolve().parents[2] / "web_server" / "static"
VENDOR = STATIC / "vendor"
LISTED = dict(re.findall(r"^\| `([^`]+)` .*`([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.M))
# ui.md: script and style of any page, compressed, but the experiment's.
BUDGET_BYTES = 200_000


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_listed_file_has_the_listed_hash(name):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == LISTED[name]


def test_every_vendored_file_is_listed():
    present = {
        str(f.relative_to(VENDOR))
        for f in VENDOR.rglob("*")
        if f.is_file() and f.name != "README.md" and f.suffix != ".gz"
    }
    assert present == set(LISTED)


@pytest.mark.parametrize("name", [name for name in sorted(LISTED) if name.endswith((".js", ".css"))])
def test_scripts_and_styles_are_also_there_compressed(name):
    assert gzip.decompress((VENDOR / f"{name}.gz").read_bytes()) == (VENDOR / name).read_bytes()


@pytest.mark.parametrize("folder", [f for f in VENDOR.iterdir() if f.is_dir()], ids=lambda f: f.name)
def test_every_package_brings_its_licence(folder):
    assert (folder / "LICENSE").stat().st_size > 300


def test_all_script_and_style_together_stay_inside_the_budget():
    files = [f for f in STATIC.rglob("*") if f.suffix in {".js", ".css"}]
    size = sum(len(gzip.compress(f.read_bytes(), 6)) for f in files)
    assert size < BUDGET_BYTES, f"{size} bytes compressed"


def test_every_icon_named_in_the_templates_is_in_the_sprite():
    sprite = set(
        re.findall(r'<symbol id="([^"]+)"', (VENDOR / "tabler-icons-3.51.0" / "icons.svg").read_text())
    )
    templates = [f for f in STATIC.parent.rglob("*.html") if "templates" in f.parts]
    used = {name for f in templates for name in re.findall(r"{% icon [\"']([a-z0-9-]+)[\"']", f.read_text())}
    assert used <= sprite
