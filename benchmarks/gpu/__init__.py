"""How near a GPU's limits Accord comes: see `gpu.sh`."""
