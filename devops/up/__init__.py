"""The supervisor behind `make up`: every process of Cellyard on one machine, by one command."""
