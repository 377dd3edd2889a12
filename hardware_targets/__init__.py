"""Targets: what runs an exported graph. Found by neurospin through the entry points `neurospin.targets`."""
