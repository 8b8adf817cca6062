"""Every address of the portal."""

from allauth.socialaccount.views import connections
from django.urls import include, path

from accounts.views import districts, downloads, invitations, mails, openid, people, second_factors, sessions
from accounts.views import records as written
from ingest.trials import views as trials
from ingest.views import blackouts, board, guard, holds, records, undo, uploads

from . import health, imports_page, metrics, operations_page, pages, retention

handler400 = "portal.pages.not_understood"
LIMITS = "staff/districts/of/<slug:slug>/limits/"
urlpatterns = [
    path("", pages.home, name="home"),
    path("help/sftp/", pages.help_sftp, name="help_sftp"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    # Not allauth.urls: its own page of sessions ends all others or none.
    path("account/", include("allauth.account.urls")),
    path("account/second-factor/", include("allauth.mfa.urls")),
    path("account/with/<slug:provider_id>/", openid.openid_sign_in, name="openid_connect_login"),
    path("account/with/<slug:provider_id>/back/", openid.openid_back, name="openid_connect_callback"),
    path("account/connected/", connections, name="socialaccount_connections"),
    path("account/sessions/", sessions.sessions, name="sessions"),
    path("account/mails/", mails.mails, name="mails"),
    path("account/sessions/others/end/", sessions.sessions_end_others, name="sessions_end_others"),
    path("account/sessions/<int:pk>/end/", sessions.session_end, name="session_end"),
    path("invitations/<str:token>/", invitations.invitation, name="invitation"),
    path("", include("keys.urls")),
    path("staff/propagation/parts/", operations_page.operations, name="operations"),
    path("staff/propagation/parts/state/", operations_page.operations_state, name="operations_state"),
    # A district's own pages
    path("districts/<slug:slug>/", pages.district_home, name="district_home"),
    path("districts/<slug:slug>/sign-in/", second_factors.district_sign_in, name="district_sign_in"),
    path("districts/<slug:slug>/leave/", second_factors.district_leave, name="district_leave"),
    path("districts/<slug:slug>/sign-in/pin/", second_factors.provider_pin, name="provider_pin"),
    path("districts/<slug:slug>/sign-in/pins/<int:pk>/off/", second_factors.provider_unpin, name="provider_unpin"),
    path("districts/<slug:slug>/uploads/", uploads.uploads, name="uploads"),
    path("districts/<slug:slug>/uploads/kept/", retention.district_retention, name="district_retention"),
    path("districts/<slug:slug>/uploads/rows/", uploads.uploads_rows, name="uploads_rows"),
    path("districts/<slug:slug>/uploads/check/", trials.trials, name="trials"),
    path("districts/<slug:slug>/uploads/check/<int:pk>/", trials.trial, name="trial"),
    path("districts/<slug:slug>/uploads/check/<int:pk>/state/", trials.trial_state, name="trial_state"),
    path("districts/<slug:slug>/uploads/check/<int:pk>/findings/", trials.trial_findings, name="trial_findings"),
    path("districts/<slug:slug>/uploads/check/<int:pk>/forget/", trials.trial_forget, name="trial_forget"),
    path("districts/<slug:slug>/uploads/file-settings/", trials.file_settings, name="file_settings"),
    path("districts/<slug:slug>/uploads/<int:pk>/", uploads.epoch, name="epoch"),
    path("districts/<slug:slug>/uploads/<int:pk>/state/", uploads.epoch_state, name="epoch_state"),
    path("districts/<slug:slug>/uploads/<int:pk>/log/", uploads.epoch_log, name="epoch_log"),
    path("districts/<slug:slug>/uploads/<int:pk>/findings/", uploads.epoch_findings, name="epoch_findings"),
    path("districts/<slug:slug>/uploads/<int:pk>/process/", uploads.epoch_process, name="epoch_process"),
    path("districts/<slug:slug>/uploads/<int:pk>/end/", uploads.epoch_end, name="epoch_end"),
    path("districts/<slug:slug>/uploads/<int:pk>/format/", uploads.epoch_format, name="epoch_format"),
    path("districts/<slug:slug>/uploads/<int:pk>/decide/", holds.epoch_decide, name="epoch_decide"),
    path("districts/<slug:slug>/uploads/<int:pk>/judge/", holds.epoch_judge, name="epoch_judge"),
    path("districts/<slug:slug>/uploads/<int:pk>/answer/", holds.epoch_answer, name="epoch_answer"),
    path("districts/<slug:slug>/uploads/<int:pk>/notes/", uploads.epoch_note, name="epoch_note"),
    path("districts/<slug:slug>/uploads/<int:pk>/undo/", undo.epoch_undo, name="epoch_undo"),
    path("districts/<slug:slug>/uploads/release/", holds.district_release, name="district_release"),
    path("districts/<slug:slug>/downloads/", downloads.downloads, name="downloads"),
    path("districts/<slug:slug>/downloads/<slug:number>/fetch/", downloads.download_fetch, name="download_fetch"),
    # The vendor's pages
    path("staff/ingest/", uploads.history, name="ingest_history"),
    path("staff/ingest/board/", board.board, name="board"),
    path("staff/ingest/blackouts/", blackouts.blackouts, name="blackouts"),
    path("staff/ingest/blackouts/add/", blackouts.blackouts_add, name="blackouts_add"),
    path("staff/ingest/blackouts/<int:pk>/end/", blackouts.blackouts_end, name="blackouts_end"),
    path("staff/districts/", districts.districts, name="districts"),
    path("staff/districts/open/", districts.district_open, name="district_open"),
    path("staff/districts/kept/", retention.retention, name="retention"),
    path("staff/districts/import/", imports_page.districts_import, name="districts_import"),
    path("staff/districts/import/<int:pk>/", imports_page.import_shown, name="import_shown"),
    path("staff/districts/import/<int:pk>/state/", imports_page.import_state, name="import_state"),
    path("staff/districts/of/<slug:slug>/", districts.district_manage, name="district_manage"),
    path("staff/districts/of/<slug:slug>/rename/", districts.district_rename, name="district_rename"),
    path("staff/districts/of/<slug:slug>/state/", districts.district_state, name="district_state"),
    path("staff/districts/of/<slug:slug>/invite/", districts.district_invite, name="district_invite"),
    path("staff/districts/of/<slug:slug>/people/<int:pk>/", districts.person_change, name="person_change"),
    path(f"{LIMITS}", guard.guard_settings, name="guard_settings"),
    path(f"{LIMITS}limit/", guard.guard_limit, name="guard_limit"),
    path(f"{LIMITS}raise/", guard.guard_raise, name="guard_raise"),
    path(f"{LIMITS}raise/<int:pk>/end/", guard.guard_raise_end, name="guard_raise_end"),
    path(f"{LIMITS}blackout/", guard.guard_blackout, name="guard_blackout"),
    path(f"{LIMITS}blackout/<int:pk>/end/", guard.guard_blackout_end, name="guard_blackout_end"),
    path(f"{LIMITS}arrival/", guard.guard_arrival, name="guard_arrival"),
    path("staff/districts/of/<slug:slug>/records/", records.record_find, name="record_find"),
    path("staff/districts/of/<slug:slug>/records/<int:pk>/", records.record_look, name="record_look"),
    path("staff/districts/people/", people.people, name="people"),
    path("staff/second-factors/", second_factors.second_factors, name="second_factors"),
    path("staff/second-factors/<int:pk>/", second_factors.second_factor_decide, name="second_factor_decide"),
    path("staff/outbox/", written.outbox, name="outbox"),
    path("staff/outbox/<int:pk>/", written.outbox_message, name="outbox_message"),
    path("staff/audit/", written.audit_log, name="audit_log"),
]
