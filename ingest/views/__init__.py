"""Pages about uploads: a district's own, what staff decide about a night, and how much a night may change."""
