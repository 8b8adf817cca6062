"""What ingest decides, as pure functions: no Django, no clock, no settings.

In the order of a night's work:
`discovery` (is the upload over) -> `container` (may this zip be read) -> `lexical`, `choose` (headers in place; which
format is it) -> `check` (every finding, over `manifest`, `tables`, `header`, `values`, `rowrules`, `references`) ->
`records`, `ownership`, `diff` (rows against the night before) -> `facts`, `guard` (may it be applied, with `limits`,
`schoolyear`, `causes`) -> `holding` (what becomes of held nights) -> `report` (the log). `arrival`: whether a night is
missing.

What a format is: `schema`, read by `descriptor` (over `node`, `ruling`, `patterns`, `soundness`), all of them by
`catalogue`. What can be found: `rules`, `findings`. Invented epochs: `sampling`, and those that go wrong: `mishaps`.
"""
