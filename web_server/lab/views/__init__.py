"""Pages of the laboratory: Monitor, stations, units, system."""
