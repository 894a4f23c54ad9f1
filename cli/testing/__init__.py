"""What the pytest plugin is built from: recordings of tests, and the guard against the network."""
