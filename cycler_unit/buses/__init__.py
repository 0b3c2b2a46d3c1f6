"""The ways to reach a device: one module each, its library imported when the bus is opened."""
