"""What every part of Framefleet must agree on: cluster, job, messages, sampling, names, reports."""
