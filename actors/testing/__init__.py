"""The test harness: systems, probes, faults and exploration for a user's own tests."""
