"""What crosses the broker: topics, messages, codec, and the catalogue of device kinds. Pure."""
