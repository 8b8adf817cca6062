"""Pages about keys: a district's Technical Settings with a page for each key, and the pages of the vendor's staff."""
