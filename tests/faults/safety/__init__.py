"""Every safety rule on every power device: the whole unit as real processes, on simulators, broken on purpose."""
