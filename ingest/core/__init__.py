"""What ingest decides, as pure functions: no Django, no clock, no settings.

In the order of a night's work:
`discovery` (is the upload over) -> `container` (may this zip be read) -> `lexical`, `choose` (headers in place; which
format is it) -> `check` (every finding, over `manifest`, `tables`, `header`, `values`, `references`) -> `records`,
`diff` (rows against the night before) -> `report` (the log). What a format is: `schema`, read by `descriptor` and
`patterns`, all of them by `catalogue`. What can be found: `rules`, `findings`. Invented epochs: `sampling`.
"""
