"""Cells of CSV files that people open in a spreadsheet."""

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(cell: object) -> str:
    """A cell as text that no spreadsheet takes for a formula (OWASP, "CSV Injection")."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(FORMULA) else text
