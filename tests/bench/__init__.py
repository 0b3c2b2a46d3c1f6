"""How fast and how small Cellyard is; measured, shown beside its goals, never asserted."""
