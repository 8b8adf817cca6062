"""Who may do what (`roles`), what districts may be called (`names`), the audit chain (`chain`), CSV (`roster`)."""
