"""A crossbar of nanodevices: weights are conductances, products are currents."""
