"""Form fields in the pages' style: a unit beside the input, Tabler's classes, the browser's own help."""

from __future__ import annotations

from typing import Any

from django import forms


class Styled(forms.Form):
    """A form whose inputs carry the style sheet's classes and say when they are wrong."""

    use_required_attribute = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("label_suffix", "")
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            dress(field)


def dress(field: Any) -> None:
    """Give the widget of ``field`` the style sheet's class."""
    widget = field.widget
    if isinstance(widget, forms.CheckboxInput):
        widget.attrs.setdefault("class", "form-check-input")
    elif isinstance(widget, forms.Select | forms.SelectMultiple):
        widget.attrs.setdefault("class", "form-select")
    elif not isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple):
        widget.attrs.setdefault("class", "form-control")
        widget.attrs.setdefault("autocomplete", "off")


def number(
    label: str, unit: str = "", *, required: bool = False, hint: str = "", whole: bool = False
) -> forms.Field:
    """Return a field for a number in ``unit``; decimals with point."""
    kind: type[forms.Field] = forms.IntegerField if whole else forms.FloatField
    attrs = {"inputmode": "numeric" if whole else "decimal"}
    field = kind(label=label, required=required, help_text=hint, widget=forms.TextInput(attrs=attrs))
    field.unit = unit  # type: ignore[attr-defined]
    return field


def text(
    label: str, *, required: bool = False, hint: str = "", length: int = 100, **attrs: str
) -> forms.CharField:
    """Return a field for a line of text."""
    return forms.CharField(
        label=label, required=required, help_text=hint, max_length=length, widget=forms.TextInput(attrs=attrs)
    )


def typed(amount: float | None) -> float | int | None:
    """Return a stored number as a person types it: 25 for 25.0, so that a switch finds its choice."""
    return int(amount) if amount is not None and float(amount).is_integer() else amount


def lines(label: str, *, hint: str = "", rows: int = 3) -> forms.CharField:
    """Return a field for some lines of text."""
    return forms.CharField(
        label=label, required=False, help_text=hint, widget=forms.Textarea(attrs={"rows": rows})
    )


def words(label: str, *, hint: str = "Separate with commas.") -> forms.CharField:
    """Return a field for tags; `split` makes the list."""
    return text(label, hint=hint, length=500)


def split(typed: str) -> list[str]:
    """Return the tags of a comma-separated text."""
    return [word.strip() for word in (typed or "").split(",") if word.strip()]
