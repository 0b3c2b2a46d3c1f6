"""What runs Cellyard on a machine: the one-command supervisor, the embedded broker, containers."""
