"""The order of lists."""

from typing import Any

from rest_framework.exceptions import ValidationError
from rest_framework.filters import OrderingFilter


class Ordering(OrderingFilter):
    """``?ordering=-name``; a column that cannot be sorted by is refused by name, not passed over."""

    def remove_invalid_fields(self, queryset: Any, fields: list[str], view: Any, request: Any) -> list[str]:
        """Return ``fields`` as they are.

        Raises:
            ValidationError: one is no column of this list.
        """
        known = super().remove_invalid_fields(queryset, fields, view, request)
        strange = [field for field in fields if field not in known]
        if strange:
            allowed = ", ".join(
                name for name, _ in self.get_valid_fields(queryset, view, {"request": request})
            )
            raise ValidationError({self.ordering_param: [f"unknown: {', '.join(strange)}; known: {allowed}"]})
        return known
