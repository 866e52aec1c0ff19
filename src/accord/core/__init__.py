"""Types, interfaces, configuration, the run directory: what every layer stands on."""
