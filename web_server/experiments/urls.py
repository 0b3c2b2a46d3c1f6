"""Addresses of the pages of experiments and alarms."""

from __future__ import annotations

from django.urls import path

from web_server.experiments.views import alarms, filing, many, runs

urlpatterns = [
    path("experiments/", runs.experiments, name="experiments"),
    path("experiments/new/", filing.new, name="experiment-new"),
    path("experiments/new/fits/", filing.fits, name="experiment-fits"),
    path("experiments/bulk/", runs.bulk, name="experiment-bulk"),
    path("experiments/batch/", many.batch, name="experiment-batch"),
    path("experiments/<uuid:uuid>/", runs.experiment, name="experiment"),
    path("experiments/<uuid:uuid>/live/", runs.live, name="experiment-live"),
    path("experiments/<uuid:uuid>/pause/", runs.pause, name="experiment-pause"),
    path("experiments/<uuid:uuid>/resume/", runs.resume, name="experiment-resume"),
    path("experiments/<uuid:uuid>/stop/", runs.stop, name="experiment-stop"),
    path("experiments/<uuid:uuid>/skip/", runs.skip_step, name="experiment-skip"),
    path("experiments/<uuid:uuid>/cancel/", runs.cancel, name="experiment-cancel"),
    path("experiments/<uuid:uuid>/note/", runs.note, name="experiment-note"),
    path("experiments/<uuid:uuid>/drill/", runs.drill, name="experiment-drill"),
    path("experiments/<uuid:uuid>/repeat/", many.repeat, name="experiment-repeat"),
    path("experiments/<uuid:uuid>/requeue/", runs.requeue, name="experiment-requeue"),
    path("alarms/", alarms.alarms, name="alarms"),
    path("alarms/<uuid:uuid>/", alarms.alarm, name="alarm"),
    path("alarms/<uuid:uuid>/acknowledge/", alarms.acknowledge, name="alarm-acknowledge"),
]
