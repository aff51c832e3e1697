"""A room of guests."""
