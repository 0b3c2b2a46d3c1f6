"""What people type to add a device model of a known family."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import Any

from django import forms

from web_server.lab.models import DeviceModel
from web_server.lab.own_models import LIMITS
from web_server.lab.panel import words
from web_server.lib import inputs
from web_server.lib.numbers import MINUS

_LABELS = {
    "voltage_min_v": ("Voltage at least", "V"),
    "voltage_max_v": ("Voltage at most", "V"),
    "current_min_a": ("Largest discharge", "A"),
    "current_max_a": ("Largest charge", "A"),
    "power_min_w": ("Power at least", "W"),
    "power_max_w": ("Power at most", "W"),
}
# How well a measure is measured: field, words.
_OF_MEASURE = (
    ("resolution", "resolution"),
    ("accuracy", "accuracy ±"),
    ("accuracy_rel", "± share of reading"),
)

_WITHOUT_ACCURACY = ("bool", "mask", "code")


class ModelForm(inputs.Styled):
    """Names, limits, link settings and accuracies; the base's own stand as what is allowed."""

    label = inputs.text("Label", required=True, hint="How pages call it.")
    maker = inputs.text("Maker", required=True)
    model = inputs.text("Model", required=True, hint="As it says of itself, without version and number.")
    identity = inputs.text(
        "Recognised by", length=250, hint="Regular expression on its answer; empty: the model's name."
    )

    def __init__(self, base: DeviceModel, *args: Any, **kwargs: Any) -> None:
        self.base = base
        super().__init__(*args, **kwargs)
        for name in LIMITS:
            own = getattr(base, name)
            if own is None:
                continue
            label, unit = _LABELS[name]
            word = "at least" if "_min_" in name else "at most"
            self.fields[name] = inputs.number(label, unit, hint=f"{word} {_amount(own)} {unit}")
        for name, own in base.link_settings.items():
            self.fields[f"link-{name}"] = self._of_link(name, own)
        for measure in base.measures:
            if measure.get("unit") in _WITHOUT_ACCURACY:
                continue
            for part, said in _OF_MEASURE:
                unit = "" if part == "accuracy_rel" else str(measure.get("unit") or "")
                own = measure.get(part)
                hint = "" if own is None else f"as {_amount(own)}"
                field = inputs.number(f"{words(measure['name'])}: {said}", unit, hint=hint)
                self.fields[f"measure-{measure['name']}-{part}"] = field
        for field in self.fields.values():
            inputs.dress(field)

    @staticmethod
    def _of_link(name: str, own: Any) -> forms.Field:
        unit = "s" if name.endswith("_s") else ""
        label = name.removesuffix("_s").replace("_", " ").capitalize()
        if isinstance(own, bool):
            return forms.BooleanField(label=label, required=False)
        if isinstance(own, int | float):
            return inputs.number(label, unit, hint=f"as {_amount(own)}", whole=isinstance(own, int))
        return inputs.text(label, hint=f"as {own.encode('unicode_escape').decode()}")

    def groups(self) -> dict[str, list[forms.BoundField]]:
        """Return the bound fields of limits, links and measures."""
        named = {
            "limits": [name for name in self.fields if name in LIMITS],
            "links": [name for name in self.fields if name.startswith("link-")],
            "measures": [name for name in self.fields if name.startswith("measure-")],
        }
        return {group: [self[name] for name in names] for group, names in named.items()}

    def body(self) -> dict[str, Any]:
        """Return what the service takes: only what was typed."""
        typed = {name: given for name, given in self.cleaned_data.items() if given not in (None, "")}
        links = {
            name.removeprefix("link-"): given for name, given in typed.items() if name.startswith("link-")
        }
        measures: dict[str, dict[str, float]] = {}
        for name, given in typed.items():
            if name.startswith("measure-"):
                measure, _, part = name.removeprefix("measure-").rpartition("-")
                measures.setdefault(measure, {})[part] = given
        plain = {
            name: typed[name] for name in ("label", "maker", "model", "identity", *LIMITS) if name in typed
        }
        return {**plain, "link_settings": links, "measures": measures}


def _amount(own: float) -> str:
    """Write a number as it would be typed, in the field's own unit."""
    return f"{own:.10g}".replace("-", MINUS)


# What stands beside the model's name in an answer: "V2.60", "Ver1.3.14", "SN:01234567", "Multimeter".
_BESIDE = re.compile(r"^(v(er)?\.?\d|fw|sn[:=]|multimeter$)", re.I)


def from_answer(answered: str) -> dict[str, str]:
    """Cut what a device says of itself into ``maker`` and ``model``; either may be missing.

    ``*IDN?`` is ``maker, model, serial number, firmware`` (IEEE 488.2); some makers use blanks.
    """
    first, second, *_ = [part.strip() for part in answered.split(",")] + [""]
    if second and not _BESIDE.match(second):
        return {"maker": first[:100], "model": second[:100]}
    model = " ".join(word for word in first.split() if not _BESIDE.match(word))[:100]
    return {"model": model} if model else {}


def likest(bases: list[DeviceModel], answered: str) -> list[DeviceModel]:
    """Return ``bases`` with those first whose names are most like what a device answered."""

    def likeness(base: DeviceModel) -> float:
        name = f"{base.maker} {base.model}".lower()
        return SequenceMatcher(None, name, answered.lower(), autojunk=False).ratio()

    return sorted(bases, key=likeness, reverse=True) if answered else bases
