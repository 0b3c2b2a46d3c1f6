"""The lab's broker: Mosquitto with its dynamic security plugin."""
