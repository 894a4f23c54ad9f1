"""Parts of the pytest plugin: recordings of tests, and the guard against the network."""
