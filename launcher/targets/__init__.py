"""Where a job runs: processes on this machine, containers on it, hosts that something else starts."""
