"""Batteries: what is under test, its limits and where it is."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from web_server.lab.models import Station
from web_server.lib.entity import Entity


class Battery(Entity):
    """A battery with its limits; ``technology`` says which detail row goes with it."""

    class Technology(models.TextChoices):
        """The three kinds, each with fields of its own."""

        LITHIUM = "lithium", "Lithium"
        LEAD_ACID = "lead_acid", "Lead-acid"
        REDOX_STACK = "redox_stack", "Redox stack"

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    manufacturer = models.CharField(max_length=100, blank=True)
    model = models.CharField(max_length=100, blank=True)
    # Null, not empty: a database treats nulls as different, so unknown numbers do not collide.
    serial_number = models.CharField(max_length=100, null=True, blank=True)  # noqa: DJ001
    barcode = models.CharField(max_length=100, null=True, blank=True, unique=True)
    manufactured_on = models.DateField(null=True, blank=True)
    technology = models.CharField(max_length=16, choices=Technology.choices)
    cells_in_series = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1)])
    cell_voltage_min_v = models.FloatField(null=True, blank=True)
    cell_voltage_max_v = models.FloatField(null=True, blank=True)
    voltage_min_v = models.FloatField(null=True, blank=True)
    voltage_max_v = models.FloatField(null=True, blank=True)
    voltage_abs_min_v = models.FloatField(null=True, blank=True)
    voltage_abs_max_v = models.FloatField(null=True, blank=True)
    current_min_a = models.FloatField(help_text="Largest discharge, negative.")
    current_max_a = models.FloatField(help_text="Largest charge.")
    temperature_min_c = models.FloatField(null=True, blank=True)
    temperature_max_c = models.FloatField(null=True, blank=True)
    charge_temperature_min_c = models.FloatField(null=True, blank=True)
    charge_temperature_max_c = models.FloatField(null=True, blank=True)
    # Own values instead of the rules': a fast test of a small cell warms quicker than most (rule 16).
    temperature_rise_max_k = models.FloatField(null=True, blank=True)
    temperature_slope_max_k_min = models.FloatField(null=True, blank=True)
    cell_spread_max_v = models.FloatField(null=True, blank=True)
    energy_wh = models.FloatField(null=True, blank=True)
    # EUCAR hazard level.
    hazard_level = models.PositiveSmallIntegerField(null=True, blank=True, validators=[MaxValueValidator(7)])
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    project = models.CharField(max_length=100, blank=True)
    tags = models.JSONField(default=list, blank=True)

    # Unique where filled: one battery in one station, and nothing else in it.
    station = models.OneToOneField(
        Station, null=True, blank=True, on_delete=models.PROTECT, related_name="battery"
    )
    loaded_at = models.DateTimeField(null=True, blank=True)
    loaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    quarantined = models.BooleanField(default=False)
    quarantine_reason = models.CharField(max_length=250, blank=True)
    quarantined_at = models.DateTimeField(null=True, blank=True)
    # For the wiring check before the first step (safety.md rule 4).
    last_rest_voltage_v = models.FloatField(null=True, blank=True)
    last_rest_at = models.DateTimeField(null=True, blank=True)
    # As the first pulse check recorded it; the later ones are compared with it (safety.md rule 4).
    resistance_ohm = models.FloatField(null=True, blank=True)
    resistance_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "batteries"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["manufacturer", "model", "serial_number"], name="battery_serial_number_is_unique"
            ),
            models.CheckConstraint(
                condition=models.Q(cells_in_series__gte=1), name="battery_has_at_least_one_cell"
            ),
            models.CheckConstraint(
                condition=models.Q(voltage_min_v__lt=models.F("voltage_max_v")),
                name="battery_voltages_do_not_cross",
            ),
            models.CheckConstraint(
                condition=models.Q(cell_voltage_min_v__lt=models.F("cell_voltage_max_v")),
                name="battery_cell_voltages_do_not_cross",
            ),
            models.CheckConstraint(
                condition=models.Q(current_min_a__lte=0, current_max_a__gte=0),
                name="battery_currents_have_signs",
            ),
            models.CheckConstraint(
                condition=models.Q(hazard_level__lte=7), name="battery_hazard_level_is_eucar"
            ),
        ]
        indexes = [
            # The list's filter by technology.
            models.Index(fields=["technology", "name"], name="battery_by_technology"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def detail(self) -> Any:
        """The row with the technology's own fields, or None."""
        return getattr(self, self.technology, None)

    @property
    def capacity_ah(self) -> float | None:
        """Nominal capacity; a redox stack has none of its own."""
        return getattr(self.detail, "capacity_ah", None)


class Inspection(models.Model):
    """A person looked at a battery in quarantine: who, when, what was seen. Never changed."""

    battery = models.ForeignKey(Battery, on_delete=models.CASCADE, related_name="inspections")
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Stays when the account goes.
    by_name = models.CharField(max_length=150, blank=True)
    # Why it was in quarantine.
    reason = models.CharField(max_length=250, blank=True)
    note = models.TextField()

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.battery} by {self.by_name}"


class Lithium(models.Model):
    """What only lithium batteries have."""

    class Chemistry(models.TextChoices):
        """Positive electrode."""

        NMC = "NMC"
        NCA = "NCA"
        LMO = "LMO"
        LFP = "LFP"
        LCO = "LCO"
        OTHER = "Other"

    battery = models.OneToOneField(
        Battery, on_delete=models.CASCADE, primary_key=True, related_name="lithium"
    )
    capacity_ah = models.FloatField()
    chemistry = models.CharField(max_length=8, choices=Chemistry.choices)

    class Meta:
        verbose_name_plural = "lithium"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(capacity_ah__gt=0), name="lithium_capacity_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chemistry}, {self.capacity_ah:g} Ah"


class LeadAcid(models.Model):
    """What only lead-acid batteries have."""

    class Chemistry(models.TextChoices):
        """Form of the electrolyte."""

        LIQUID = "Liquid"
        GEL = "Gel"
        OTHER = "Other"

    battery = models.OneToOneField(
        Battery, on_delete=models.CASCADE, primary_key=True, related_name="lead_acid"
    )
    capacity_ah = models.FloatField()
    chemistry = models.CharField(max_length=8, choices=Chemistry.choices)

    class Meta:
        verbose_name_plural = "lead-acid"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(capacity_ah__gt=0), name="lead_acid_capacity_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chemistry}, {self.capacity_ah:g} Ah"


class RedoxStack(models.Model):
    """What only redox flow stacks have; the electrolyte belongs to the experiment."""

    battery = models.OneToOneField(
        Battery, on_delete=models.CASCADE, primary_key=True, related_name="redox_stack"
    )
    electrode_size_cm2 = models.FloatField()
    electrode_composition = models.CharField(max_length=100, blank=True)
    bipolar_type = models.CharField(max_length=100, blank=True)
    membrane_type = models.CharField(max_length=100, blank=True)
    electrolyte_type = models.CharField(max_length=100, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(electrode_size_cm2__gt=0), name="redox_electrode_size_is_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.electrode_size_cm2:g} cm², {self.membrane_type or 'membrane unknown'}"
