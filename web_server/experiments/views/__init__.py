"""Pages of experiments and alarms."""
