"""The addresses of the pages about keys."""

from django.urls import path

from .views import connect, found, hosts, one_key, propagation, staff_keys, stopped, technical_settings

SETTINGS = "districts/<slug:slug>/settings/technical/"
KEY = f"{SETTINGS}keys/<int:pk>/"
LOST = f"{SETTINGS}lost/<int:pk>/"
FOUND = f"{SETTINGS}found/<int:pk>/"
RUN = "staff/propagation/runs/<int:pk>/"
STOPPED = "staff/propagation/stopped/<int:pk>/"
HOST = "staff/hosts/<int:pk>/"

urlpatterns = [
    # A district's own pages
    path(SETTINGS, technical_settings.technical_settings, name="technical_settings"),
    path(f"{SETTINGS}state/", technical_settings.technical_settings_state, name="technical_settings_state"),
    path(f"{SETTINGS}check/", technical_settings.technical_settings_check, name="technical_settings_check"),
    path(f"{SETTINGS}networks/", technical_settings.technical_settings_networks, name="technical_settings_networks"),
    path(f"{KEY}edit/", one_key.key_edit, name="key_edit"),
    path(f"{KEY}replace/", one_key.key_replace, name="key_replace"),
    path(f"{KEY}remove/", one_key.key_remove, name="key_remove"),
    path(f"{KEY}lost/", one_key.key_lost, name="key_lost"),
    path(LOST, one_key.key_lost_told, name="key_lost_told"),
    path(f"{LOST}state/", one_key.key_lost_state, name="key_lost_state"),
    path(f"{FOUND}adopt/", found.found_adopt, name="found_adopt"),
    path(f"{FOUND}dismiss/", found.found_dismiss, name="found_dismiss"),
    path("districts/<slug:slug>/connect/", connect.connect, name="connect"),
    path("districts/<slug:slug>/connect/state/", connect.connect_state, name="connect_state"),
    # The vendor's pages
    path("staff/keys/", staff_keys.staff_keys, name="staff_keys"),
    path("staff/keys/requests/<int:pk>/", staff_keys.staff_keys_decide, name="staff_keys_decide"),
    path("staff/propagation/", propagation.propagation, name="propagation"),
    path("staff/propagation/state/", propagation.propagation_state, name="propagation_state"),
    path("staff/propagation/now/", propagation.propagation_now, name="propagation_now"),
    path("staff/propagation/schedule/", propagation.propagation_schedule, name="propagation_schedule"),
    path(RUN, propagation.propagation_run, name="propagation_run"),
    path(f"{RUN}state/", propagation.propagation_run_state, name="propagation_run_state"),
    path("staff/propagation/newer/<int:pk>/", propagation.propagation_newer, name="propagation_newer"),
    path(STOPPED, stopped.propagation_stopped, name="propagation_stopped"),
    path(f"{STOPPED}keys/", stopped.propagation_stopped_keys, name="propagation_stopped_keys"),
    path("staff/propagation/runs/", propagation.propagation_runs, name="propagation_runs"),
    path("staff/propagation/found/", found.propagation_found, name="propagation_found"),
    path("staff/hosts/", hosts.hosts, name="hosts"),
    path("staff/hosts/new/", hosts.host_new, name="host_new"),
    path(HOST, hosts.host, name="host"),
    path(f"{HOST}edit/", hosts.host_edit, name="host_edit"),
    path(f"{HOST}connect/", hosts.host_connect, name="host_connect"),
    path(f"{HOST}confirm/", hosts.host_confirm, name="host_confirm"),
    path(f"{HOST}restart/", hosts.host_restart, name="host_restart"),
    path(f"{HOST}new-districts/", hosts.host_take_new, name="host_take_new"),
    path(f"{HOST}portal-key/", hosts.host_portal_key, name="host_portal_key"),
    path(f"{HOST}remove/", hosts.host_remove, name="host_remove"),
]
