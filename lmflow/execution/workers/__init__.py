"""Workers: processes that share the parts of one run by leases."""
