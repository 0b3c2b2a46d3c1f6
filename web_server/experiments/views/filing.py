"""New experiment: three choices and a start."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from web_server.cells.models import Battery
from web_server.experiments import offers, services
from web_server.experiments.forms import ANY_STATION, DETAILS, ELECTROLYTE, WRITTEN_HERE, FilingForm, anew
from web_server.experiments.models import Experiment
from web_server.lab.models import Station
from web_server.lib.errors import Refused, ServiceError
from web_server.lib.lookup import find
from web_server.lib.transactions import atomic
from web_server.page import forbid, page, part, refuse_into
from web_server.profiles import services as profiles
from web_server.profiles.models import Profile

SECTION = "experiments"


def new(request: HttpRequest) -> HttpResponse:
    """File an experiment."""
    refused = forbid(request, "operator", "file an experiment", SECTION)
    if refused:
        return refused
    form = FilingForm(request.POST if request.method == "POST" else None, initial=_initial(request))
    if request.method == "POST" and form.is_valid():
        before = services.filed_before(form.cleaned_data["request_id"])
        filed = _file(request, form)
        if filed is not None:
            twice = "; it was sent twice and is there once" if filed == before else ""
            messages.success(request, f"{filed.name} is filed{twice}. {_what_next(filed)}")
            return redirect(reverse("experiment", args=[filed.uuid]) + "?filed=1")
    status = 422 if form.errors else 200
    return page(
        request,
        "experiments/new.html",
        SECTION,
        status,
        form=form,
        details=[form[name] for name in DETAILS],
        electrolyte=[form[name] for name in ELECTROLYTE],
        **_offers(form["battery"].value(), form["station"].value(), form["profile"].value()),
    )


def fits(request: HttpRequest) -> HttpResponse:
    """Send stations and profiles as they fit what is chosen so far."""
    asked = request.GET
    return part(
        request,
        "experiments/fits.html",
        oob=True,
        **_offers(asked.get("battery"), asked.get("station"), asked.get("profile")),
    )


def _row(model: Any, chosen: Any) -> Any:
    try:
        return find(model, chosen, "") if chosen else None
    except Refused:
        return None


def _offers(battery_id: Any, station_id: Any, profile_id: Any) -> dict[str, Any]:
    battery, station = _row(Battery, battery_id), _row(Station, station_id)
    return {
        "batteries": offers.batteries(station),
        "stations": offers.stations(battery),
        "profiles": offers.profiles(battery, station),
        "chosen_battery": str(battery_id or ""),
        "chosen_station": str(station_id or ""),
        "chosen_profile": str(profile_id or ""),
        "battery_is_in": bool(battery and station and battery.station_id == station.pk),
    }


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Return what the address brings: ``?battery= ?station= ?profile=``, or a run to be like."""
    first: dict[str, Any] = {"priority": 0, "definition": json.dumps({"steps": []})}
    like = _row(Experiment, request.GET.get("like"))
    if like is not None:
        first |= {
            name: getattr(like, name)
            for name in (
                "description",
                "project",
                "priority",
                "initial_soc_percent",
                "resume_policy",
                "contact_policy",
                "off_after_s",
                "temperature_waiver",
            )
        }
        first |= {
            "tags": ", ".join(like.tags),
            "battery": like.battery.uuid,
            "profile": like.profile.uuid,
            "station": like.station.uuid if like.station else ANY_STATION,
        }
    for name in ("battery", "station", "profile"):
        if request.GET.get(name):
            first[name] = request.GET[name]
    battery = _row(Battery, first.get("battery"))
    if battery is not None and battery.station and "station" not in first:
        first["station"] = battery.station.uuid
    station = _row(Station, first.get("station"))
    if station is not None and station.loaded_battery and "battery" not in first:
        first["battery"] = station.loaded_battery.uuid
    return first


@atomic
def _all_or_nothing(person: Any, form: FilingForm) -> Experiment:
    """Save the profile that was written here, then file; a refusal of the second undoes the first."""
    typed = form.cleaned_data
    battery = find(Battery, typed["battery"], "battery")
    if typed["profile"] == WRITTEN_HERE:
        profile = _written(person, typed, battery)
    else:
        profile = find(Profile, typed["profile"], "profile")
    where: dict[str, Any] = (
        {"station_query": {}} if typed["station"] == ANY_STATION else {"station": typed["station"]}
    )
    name = typed["name"] or f"{profile.name} on {battery.name}"[:100]
    return services.file(person, name=name, battery=battery, profile=profile, **where, **form.body())


def _written(person: Any, typed: dict[str, Any], battery: Battery) -> Profile:
    """Save the profile that was written here; sent again it is there already."""
    before = services.filed_before(typed["request_id"], battery)
    own = {key: entry for key, entry in typed["definition"].items() if key != "name"}
    body = {**own, "name": typed["profile_name"]}
    if before is not None and profiles.is_same(before.profile_version, body):
        return before.profile
    return profiles.save(person, **body)


def _file(request: HttpRequest, form: FilingForm) -> Experiment | None:
    try:
        try:
            return _all_or_nothing(request.user, form)
        except Refused:
            # The same form at the same moment was faster: what it saved stood in the way of this one.
            if services.filed_before(form.cleaned_data["request_id"]) is None:
                raise
            return _all_or_nothing(request.user, form)
    except ServiceError as error:
        if form.cleaned_data["profile"] == WRITTEN_HERE:
            for problem in getattr(error, "errors", []):
                if problem.get("field") == "name":
                    problem["field"] = "profile_name"
        refuse_into(form, error)
        anew(form)
        return None


def _what_next(filed: Experiment) -> str:
    if filed.station is None:
        return "It starts on the first free station that fits and holds the battery."
    if filed.battery.station_id == filed.station_id:
        return f"It starts when {filed.station.name} is free."
    return f"It starts when {filed.battery.name} is loaded into {filed.station.name}."
