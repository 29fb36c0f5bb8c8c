"""The terminal: what is typed is checked, and what is said is one line or a table."""
