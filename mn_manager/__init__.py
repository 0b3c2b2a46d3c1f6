"""The bridge between database and broker; N copies may run, each owns its units by lease."""
