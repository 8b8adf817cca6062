"""Every address of the portal."""

from django.urls import include, path

from accounts.views import districts, invitations, records
from ingest import views as ingest

from . import health, pages

handler400 = "portal.pages.not_understood"
urlpatterns = [
    path("", pages.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("account/", include("allauth.urls")),
    path("invitations/<str:token>/", invitations.invitation, name="invitation"),
    path("", include("keys.urls")),
    # A district's own pages
    path("districts/<slug:slug>/", pages.district_home, name="district_home"),
    path("districts/<slug:slug>/uploads/", ingest.uploads, name="uploads"),
    path("districts/<slug:slug>/uploads/rows/", ingest.uploads_rows, name="uploads_rows"),
    path("districts/<slug:slug>/uploads/<int:pk>/", ingest.epoch, name="epoch"),
    path("districts/<slug:slug>/uploads/<int:pk>/state/", ingest.epoch_state, name="epoch_state"),
    path("districts/<slug:slug>/uploads/<int:pk>/log/", ingest.epoch_log, name="epoch_log"),
    path("districts/<slug:slug>/uploads/<int:pk>/process/", ingest.epoch_process, name="epoch_process"),
    path("districts/<slug:slug>/uploads/<int:pk>/format/", ingest.epoch_format, name="epoch_format"),
    # The vendor's pages
    path("staff/ingest/", ingest.history, name="ingest_history"),
    path("staff/districts/", districts.districts, name="districts"),
    path("staff/districts/open/", districts.district_open, name="district_open"),
    path("staff/districts/import/", districts.districts_import, name="districts_import"),
    path("staff/districts/of/<slug:slug>/", districts.district_manage, name="district_manage"),
    path("staff/districts/of/<slug:slug>/rename/", districts.district_rename, name="district_rename"),
    path("staff/districts/of/<slug:slug>/state/", districts.district_state, name="district_state"),
    path("staff/districts/of/<slug:slug>/invite/", districts.district_invite, name="district_invite"),
    path("staff/outbox/", records.outbox, name="outbox"),
    path("staff/outbox/<int:pk>/", records.outbox_message, name="outbox_message"),
    path("staff/audit/", records.audit_log, name="audit_log"),
]
