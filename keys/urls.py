"""The addresses of the pages about keys."""

from django.urls import path

from .views import one_key, propagation, staff_keys, technical_settings

SETTINGS = "districts/<slug:slug>/settings/technical/"
KEY = f"{SETTINGS}keys/<int:pk>/"
LOST = f"{SETTINGS}lost/<int:pk>/"

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
    # The vendor's pages
    path("staff/keys/", staff_keys.staff_keys, name="staff_keys"),
    path("staff/keys/requests/<int:pk>/", staff_keys.staff_keys_decide, name="staff_keys_decide"),
    path("staff/propagation/", propagation.propagation, name="propagation"),
    path("staff/propagation/state/", propagation.propagation_state, name="propagation_state"),
    path("staff/propagation/now/", propagation.propagation_now, name="propagation_now"),
    path("staff/propagation/schedule/", propagation.propagation_schedule, name="propagation_schedule"),
    path("staff/propagation/runs/<int:pk>/", propagation.propagation_run, name="propagation_run"),
    path("staff/propagation/newer/<int:pk>/", propagation.propagation_newer, name="propagation_newer"),
]
